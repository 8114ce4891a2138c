"""Pipelines: Python functions as steps, addressed by content, each in a process of its own."""
