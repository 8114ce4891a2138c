"""A version's chain of signatures in a folder: written here, and checked with nothing but the root of trust."""
