"""The only folders of the agent that may import paho, onnxruntime, os and threading."""
