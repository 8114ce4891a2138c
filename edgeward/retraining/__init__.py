"""The worker that trains what the controller has approved, and the output of a retraining pipeline."""
