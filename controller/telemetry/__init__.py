"""Counts of what devices measured, on disk: stored before anything is judged by them, merged as they age."""
