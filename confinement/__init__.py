"""Confinement of a child process that reads hostile bytes. Agent and controller share it; it needs only Linux."""
