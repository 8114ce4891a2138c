"""Artifacts in fewer bytes: what changed since another version, and what compresses better in another order."""
