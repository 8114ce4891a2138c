"""The demo of the loop: a stream that really drifts, and a fleet that recovers without a hand."""
