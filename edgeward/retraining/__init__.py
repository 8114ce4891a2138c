"""The worker that trains what the controller has approved, and what a retraining pipeline hands to it."""
