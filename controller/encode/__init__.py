"""Encodings of artifacts in fewer bytes: changes since another version, and numbers in an order that compresses
better."""
