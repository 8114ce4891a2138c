"""Measurements. Each prints a table, and measures both sides in one run: `make bench [ONLY=agent] [CHECK=1]`."""
