"""The data plane: rows and tensors in, predictions out, and measurements. Refuses to know updates."""
