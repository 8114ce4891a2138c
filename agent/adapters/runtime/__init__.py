"""onnxruntime on the device: sessions, the confined probe, and the worker process."""
