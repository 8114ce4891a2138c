"""What has moved, the estimated quality of a model, and the rows that people are asked to label: counts
in, words out.
"""
