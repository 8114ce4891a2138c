"""The device program: verifies, probes, hot-swaps or rolls back models, serves inference, reports.

Light on purpose: onnxruntime, numpy, paho-mqtt and what trust needs. Never imports the controller.
"""
