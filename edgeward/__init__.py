"""What operators and data scientists hold: ``from edgeward import Client``, and the `edgeward` command over it."""

from edgeward.client import Client, RolloutHandle

__all__ = ["Client", "RolloutHandle"]
