"""Live networks of PyTorch and Keras as ONNX, with their own answers: both are computed in the user's process.

Files of either framework may hold code, so only ONNX and plain arrays leave that process.
"""
