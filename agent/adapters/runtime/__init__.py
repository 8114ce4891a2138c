"""onnxruntime on the device: sessions, the confined probe, and the worker process.

Decides, before any module imports onnxruntime, that it sends no telemetry. From version 1.29 on it sends names and
hashes of models to its maker unless this variable is set.
"""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
