"""Runs: the inputs of one training and its results, stored so that it can be shown, compared and repeated."""
