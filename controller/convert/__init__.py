"""Estimator -> ONNX with evidence, in a confined child; one file per framework. Nothing here ever unpickles."""
