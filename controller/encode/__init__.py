"""Encodings of artifacts in fewer bytes: changes since another version, and a better order of the bytes of numbers."""
