"""Measurements, not tests: each prints a table, both sides measured in one run. `make bench [ONLY=agent] [CHECK=1]`."""
