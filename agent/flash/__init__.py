"""Data that survives a power cut: the store, atomic files, and the spool."""
