"""What rules are judged by, and what a rule finds: the facts of one moment in, readings out.

Decides which facts there are. Refuses to know where they come from, and clocks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from controller.drift.signals import Signal
from controller.fleet.faults import faults_of
from controller.fleet.twin import Twin
from controller.health import Finding
from controller.rollout.model import Rollout
from controller.watcher.departure import Departure


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts of one moment."""

    now: float
    """Seconds since 1970."""
    started_at: float
    """When this controller started: a device cannot have been unheard for longer than that, as far as it can tell."""
    silent_s: float
    twins: Mapping[str, Twin] = field(default_factory=dict)
    rollouts: Mapping[str, Rollout] = field(default_factory=dict)
    withdrawn: Mapping[tuple[str, int], str] = field(default_factory=dict)
    findings: Sequence[Finding] = ()
    """What is wrong with the controller."""
    own_expiries: Mapping[str, float] = field(default_factory=dict)
    """When the controller's certificates and roles expire, in seconds since 1970."""
    signals: Sequence[Signal] = ()
    """What the newest looks at the data of models say."""
    watched: frozenset[str] = frozenset()
    """Models at whose data this controller has looked since it started."""
    departures: Sequence[Departure] = ()
    """Devices that depart from what is usual for them, as the watcher says."""
    models: frozenset[str] = frozenset()
    """All models of the registry."""
    _faults: list[dict[str, dict[str, str]]] = field(default_factory=list)

    def faults(self) -> dict[str, dict[str, str]]:
        """By device with which something is wrong, the words by code. Several rules read it, so it is made once."""
        if not self._faults:
            judged = ((device, faults_of(twin, self.withdrawn, self.now)) for device, twin in self.twins.items())
            self._faults.append({device: found for device, found in judged if found})
        return self._faults[0]


class Reading(msgspec.Struct, frozen=True):
    """One thing that a rule has found beyond its limit."""

    labels: dict[str, str]
    """What it is about: `device`, `model`, `rollout`, ..."""
    value: float
    unit: str
    """What the value counts: `s`, `days`, `ratio`, `devices`."""
    limit: float
    n: int
    """How many devices, rows or rollouts the value rests on."""
    of: str
    """What `n` counts."""
    detail: str
    """A sentence with what is so."""
    clears: str
    """A sentence with what would end it."""
    look: str
    """One command to look further."""
    low: float | None = None
    high: float | None = None
    """The ends of the interval of an estimate; None for what is counted or read."""
