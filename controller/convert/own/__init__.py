"""Converters of Edgeward's own, one file for each kind of mathematics; `registered` puts them in skl2onnx's place."""
