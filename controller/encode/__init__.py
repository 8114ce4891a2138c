"""Encodings of artifacts in fewer bytes: differences from another version, and an order of bytes that compresses
better.
"""
