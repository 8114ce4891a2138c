"""Confinement of a child process that reads hostile bytes. Shared by agent and controller; needs nothing but Linux."""
