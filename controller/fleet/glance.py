"""The health and the presence of every device at one moment, and which have changed since the moment before.

Decides that only another word is a change. Refuses to know where the result is shown.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from controller.fleet.device_health import HealthWord
from controller.fleet.roster import Moment, Roster
from controller.fleet.steps import Steps, strides
from controller.fleet.twin import PresenceWord, Twin


@dataclass(frozen=True, slots=True)
class Glance:
    """One look at all devices, in the order of names."""

    health: dict[str, HealthWord]
    presence: dict[str, PresenceWord]

    def health_counts(self) -> dict[str, int]:
        """Devices by health."""
        return dict(Counter(self.health.values()))

    def presence_counts(self) -> dict[str, int]:
        """Devices by presence."""
        return dict(Counter(self.presence.values()))

    def changed_since(self, before: "Glance | None") -> list[str]:
        """Returns devices whose health is another word than before, and new devices."""
        if before is None:
            return []
        return [device for device, word in self.health.items() if before.health.get(device) != word]


def look(twins: Mapping[str, Twin], roster: Roster, moment: Moment) -> Steps[Glance]:
    """Looks at all devices of the roster, in steps."""
    seen = Glance({}, {})
    for stride in strides(roster.all_names()):
        for device in stride:
            twin = twins.get(device)
            if twin is not None and device in roster:
                seen.health[device] = roster.health(device, moment)[0]
                seen.presence[device] = twin.presence(moment.now, moment.silent_s)
        yield
    return seen
