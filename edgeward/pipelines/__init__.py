"""Pipelines: Python functions as steps, addressed by content, each in its own process."""
