"""Mutants: small wrong changes to the pure code, and a run of its tests to see whether they fail: `make mutants`."""
