"""onnxruntime on the device: sessions, the confined probe, and the worker process.

Decides, before anything imports onnxruntime, that it reports nothing: from 1.29 on it tells its maker the names and
hashes of models unless this variable is set.
"""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
