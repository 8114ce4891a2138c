"""A registered form on held-out rows: answers, latency and operators, measured in a confined child process."""
