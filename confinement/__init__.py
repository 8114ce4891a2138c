"""Confinement of a child process that reads hostile bytes. Agent and controller both use it; it needs only Linux."""
