"""The facts by which rules are judged, and the readings that a rule finds.

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
    """When this controller started: it cannot know that a device was silent for longer than that."""
    silent_s: float
    twins: Mapping[str, Twin] = field(default_factory=dict)
    rollouts: Mapping[str, Rollout] = field(default_factory=dict)
    withdrawn: Mapping[tuple[str, int], str] = field(default_factory=dict)
    findings: Sequence[Finding] = ()
    """What is wrong with the controller."""
    looks: Mapping[str, str] = field(default_factory=dict)
    """The command that shows more about a finding, by its code; for all others the audit does."""
    own_expiries: Mapping[str, float] = field(default_factory=dict)
    """When the controller's certificates and roles expire, in seconds since 1970."""
    signals: Sequence[Signal] = ()
    """The signals of the newest looks at the data of models."""
    watched: frozenset[str] = frozenset()
    """Models whose data this controller has examined since it started."""
    departures: Sequence[Departure] = ()
    """Devices that depart from what is usual for them, according to the watcher."""
    models: frozenset[str] = frozenset()
    """All models of the registry."""
    _faults: list[dict[str, dict[str, str]]] = field(default_factory=list)

    def faults(self) -> dict[str, dict[str, str]]:
        """The words by code for each device with a fault. Several rules read it, so it is computed once."""
        if not self._faults:
            judged = ((device, faults_of(twin, self.withdrawn, self.now)) for device, twin in self.twins.items())
            self._faults.append({device: found for device, found in judged if found})
        return self._faults[0]


class Reading(msgspec.Struct, frozen=True):
    """One value that a rule has found outside its limit."""

    labels: dict[str, str]
    """The subject of the reading: `device`, `model`, `rollout`, ..."""
    value: float
    unit: str
    """What the value counts: `s`, `days`, `ratio`, `devices`."""
    limit: float
    n: int
    """The number of devices, rows or rollouts from which the value was computed."""
    of: str
    """What `n` counts."""
    detail: str
    """A sentence that says what is wrong."""
    clears: str
    """A sentence that says when the alert ends."""
    look: str
    """A command that shows more."""
    low: float | None = None
    high: float | None = None
    """The ends of the interval of an estimate; None for a value that is counted or read."""
