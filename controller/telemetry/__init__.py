"""Counts of measurements of devices, on disk: stored before they are used, merged as they age."""
