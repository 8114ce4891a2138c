"""Conversion of estimators to ONNX, with evidence, in a confined child; one file for each framework.

Never unpickles.
"""
