"""A version's chain of signatures in a folder: written here, and checked by anybody with the root of trust."""
