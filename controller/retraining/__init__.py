"""Decides when a model is trained again: proposals, their costs and gains, and the decision. Pure."""
