"""The data plane: rows and tensors in, predictions out, and what is measured. Knows nothing of updates."""
