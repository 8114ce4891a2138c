"""When a model is trained again: what proposes it, what it is weighed against, and what was decided. Pure."""
