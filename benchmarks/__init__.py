"""Measurements. Each prints a table, and measures both compared programs in one run: `make bench [ONLY=agent]
[CHECK=1]`.
"""
