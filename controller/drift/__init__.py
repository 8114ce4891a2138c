"""Drifted distributions, the estimated quality of a model, and the rows that people must label. Takes counts,
returns words.
"""
