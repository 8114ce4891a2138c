"""What is wrong with the device now, for its heartbeat, by subject; a fault ends when its subject succeeds.

Decides which faults last and which have ended: a report names a fault once, a heartbeat repeats it while it lasts.
Refuses to know what to do about it.
"""

import logging

from contract import topics
from contract.errors import BadInput, Code, EdgewardError
from contract.protocol import MAX_FAULTS

_DISK, _CLOCK, _PROBES = "a record", "the clock", "golden probes"
_PASSING = frozenset({Code.DESIRED_NOT_FRESH})
"""A fault that ends by itself: the document is older than this boot. The next document is newer."""


_UNHEARD_WORDS = (
    "the controller does not know this device's key, and may not hear what the device says: it is renewed now; if that "
    "is refused, ask the operator for a new claim, then edgeward-agent enrol"
)
_RETIRED = (
    "this device was retired by the controller: its document is gone, what it runs goes on, and what it says is not "
    "heard; to take it in again: edgeward device adopt {device} there, then edgeward-agent adopt with the claim here"
)

_log = logging.getLogger("edgeward.agent")


class Faults:
    """Faults by subject: a topic, the record of a boot or of a model, the clock."""

    def __init__(self) -> None:
        self._by_place: dict[str, EdgewardError] = {}

    def __contains__(self, what: str) -> bool:
        return what in self._by_place

    def note(self, what: str, error: EdgewardError) -> None:
        """Notes a fault in place of an older one; beyond `MAX_FAULTS` the oldest is dropped."""
        if error.code in _PASSING:
            return
        self._by_place.pop(what, None)
        if len(self._by_place) >= MAX_FAULTS:
            del self._by_place[next(iter(self._by_place))]
        self._by_place[what] = error

    def over(self, what: str) -> None:
        """Removes a fault, because its subject has succeeded."""
        self._by_place.pop(what, None)

    def note_unheard(self, what: str) -> None:
        """Notes that the controller does not know this device's key: the controller was restored from a backup, or
        revoked the key.
        """
        if what not in self:
            self.note(what, BadInput(Code.CERTIFICATE_INVALID, _UNHEARD_WORDS))
            _log.error("%s", self._by_place[what])

    def note_removed(self, topic: str, device: str) -> bool:
        """Notes that the controller, or a client of the broker, has emptied the device's document: there are no orders.

        Returns whether it was the device's own document.
        """
        if topic != topics.desired(device):
            return False
        if topic not in self:
            self.note(topic, BadInput(Code.DEVICE_RETIRED, _RETIRED.format(device=device)))
            _log.error(_RETIRED.format(device=device))
        return True

    def look(
        self, disk: EdgewardError | None, clock: EdgewardError | None, probes: EdgewardError | None = None
    ) -> None:
        """Takes over the faults of records, the clock and golden probes as they are now; None if nothing is wrong."""
        for place, error in ((_DISK, disk), (_CLOCK, clock), (_PROBES, probes)):
            if error is None:
                self.over(place)
            else:
                self.note(place, error)

    def by_code(self) -> dict[str, str]:
        """The detail of each present fault, by its code."""
        return {str(error.code): error.detail for error in list(self._by_place.values())}


def set_aside(name: str) -> BadInput:
    """The fault of a damaged record."""
    return BadInput(Code.RECORD_CORRUPT, f"record of {name} was set aside")
