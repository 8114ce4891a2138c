"""The effect of remote configurations on a simulated device: notes each one that is applied, and breaks if a test
requires it.

Decides whether a configuration was durable when it was applied. Refuses to know which ones are sent.
"""

from random import Random

from agent.flash.store import Store
from contract.remote_config import RemoteConfig
from firmware_sim.flash import Flash


class Tuned:
    """The applied configurations of one device."""

    def __init__(self, flash: Flash) -> None:
        self._flash = flash
        self.applied: list[tuple[int, bool]] = []
        """(version that was applied, 0 for the device's own; whether it was durable then)."""
        self.fault = ""
        self.breaks_on: frozenset[int] = frozenset()
        """Versions that break its serving."""
        self.raises_on: frozenset[int] = frozenset()
        """Versions that cannot be applied."""

    def apply(self, wanted: RemoteConfig | None) -> None:
        """Notes a configuration. RuntimeError for one that cannot be applied."""
        version = wanted.version if wanted is not None else 0
        after_a_cut = Flash(Random(0))  # noqa: S311 - a simulation
        after_a_cut.load(self._flash.image())
        kept = Store(after_a_cut).load_config()
        self.applied.append((version, kept.newest >= version))
        self.fault = "the server has ended" if version in self.breaks_on else ""
        if version in self.raises_on:
            raise RuntimeError("no such limit")
