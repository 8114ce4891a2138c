"""The health of every device at one moment, at a cost that 100,000 devices can have each second or two.

Decides what is looked at again: only devices whose twin has changed since the look before. Presence is asked anew for
each, as it changes by time alone. Refuses to know who looks.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from controller.fleet.device_health import DeviceHealth, said_health, with_presence
from controller.fleet.twin import PresenceWord, Twin

LOOK_AGAIN_S = 300.0
"""Seconds after which a device is looked at though nothing of it has changed: faults can end by time alone."""


@dataclass(frozen=True, slots=True)
class Glimpse:
    """What one look found."""

    health: dict[str, DeviceHealth]
    presence: dict[str, PresenceWord]
    changed: tuple[str, ...]
    """Devices whose word is another than at the look before; all of them at the first one."""

    def health_counts(self) -> dict[str, int]:
        """Devices by health."""
        return dict(Counter(each.word for each in self.health.values()))

    def presence_counts(self) -> dict[str, int]:
        """Devices by presence."""
        return dict(Counter(self.presence.values()))


@dataclass
class Glance:
    """What is kept between two looks."""

    _said: dict[str, tuple[Twin, int, float, DeviceHealth]] = field(default_factory=dict)
    _words: dict[str, str] = field(default_factory=dict)

    def look(
        self, twins: Mapping[str, Twin], withdrawn: Mapping[tuple[str, int], str], silent_s: float, now: float
    ) -> Glimpse:
        """Looks at all devices, sorted by name."""
        kept, said = {}, self._said
        health, presence, changed = {}, {}, []
        for device in sorted(twins):
            twin = twins[device]
            known = said.get(device)
            if known is None or known[0] is not twin or known[1] != len(withdrawn) or now - known[2] > LOOK_AGAIN_S:
                known = (twin, len(withdrawn), now, said_health(twin, withdrawn, now))
            kept[device] = known
            presence[device] = there = twin.presence(now, silent_s)
            health[device] = found = known[3] if there == "online" else with_presence(known[3], twin, there, now)
            if self._words.get(device) != found.word:
                changed.append(device)
        self._said = kept
        self._words = {device: each.word for device, each in health.items()}
        return Glimpse(health, presence, tuple(changed))
