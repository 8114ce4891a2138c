"""The demo of the loop: a series that really drifts, and a fleet that recovers without a person."""
