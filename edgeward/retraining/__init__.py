"""The worker that performs approved trainings, and the output of a retraining pipeline."""
