"""The data plane: rows and tensors in, predictions out, and what is measured around them. Knows nothing of updates."""
