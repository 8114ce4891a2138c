"""Runs: what one training was made of and what came of it, kept so that it can be looked at, compared and repeated."""
