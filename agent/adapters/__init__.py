"""The only rooms of the agent that may import paho, onnxruntime, os and threading."""
