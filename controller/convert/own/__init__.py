"""Edgeward's own converters, one file for each kind of mathematics; `registered` puts them in place of skl2onnx's."""
