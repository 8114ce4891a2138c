"""The data plane: rows and tensors in, predictions out, and measurements. Knows nothing of updates."""
