"""A report over a span of time: what is gathered, and the page that it becomes."""
