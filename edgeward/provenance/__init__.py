"""A version's chain of signatures in a folder: written here, and checked with only the root of trust."""
