"""Counts of what devices measured, on disk: kept before anybody judges by them, rolled up as they age."""
