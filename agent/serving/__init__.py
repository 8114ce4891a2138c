"""The data plane: takes rows and tensors, returns predictions, and measures. Refuses to know updates."""
