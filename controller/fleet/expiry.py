"""What expires soon, and at which marks people are warned: pure, from dates.

Decides when a warning is due: at 30, 7 and 1 days, and at the end. Refuses to know who was warned before.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from controller.fleet.twin import Twin

MARKS_DAYS = (30, 7, 1, 0)
"""Days before the expiry: a month to plan, a week to act, the last day; 0: it has expired."""
DAY_S = 86_400.0
SELF_RENEWED = ("snapshot", "timestamp")
"""Roles that are valid for days and that the controller signs again by itself: if it cannot, passes fail."""
FLEET, CONTROLLER = "fleet", "controller"
"""Names for what all devices rely on, and for what the controller itself has; they are no names of devices."""
STARTED_BROKER = "certificate server"
"""Among the controller's own: the certificate of a broker that it has started."""
MAX_WARNINGS = 100
"""The most warnings of one look: devices may report any date, and many certificates may expire on one day."""


class Expiring(NamedTuple):
    """Something that expires soon, or has."""

    subject: str
    what: str
    expires: float
    """Seconds since 1970."""
    mark_days: int
    """The newest of MARKS_DAYS that has passed."""


def mark_of(expires: float, now: float) -> int | None:
    """Returns the newest mark before `now`; None if more than 30 days are left."""
    passed = [days for days in MARKS_DAYS if expires - now <= days * DAY_S]
    return min(passed, default=None)


def expiring(
    twins: Iterable[Twin], certificates: Mapping[str, float], own: Mapping[str, float], now: float
) -> Iterator[Expiring]:
    """Returns everything that is past a mark. `certificates` are the newest issued ones, by device; `own` are the
    controller's certificates and roles. A broker elsewhere is reported once for the fleet, from what devices have seen.
    """
    found: list[tuple[str, str, float]] = [(CONTROLLER, what, at) for what, at in own.items()]
    known = dict(certificates)
    for twin in twins:
        if "certificate" in twin.expiries:
            known[twin.device] = float(twin.expiries["certificate"])
        if "broker" in twin.expiries and STARTED_BROKER not in own:
            found.append((FLEET, "broker", float(twin.expiries["broker"])))
    found += [(device, "certificate", at) for device, at in sorted(known.items())]
    for subject, what, end in dict.fromkeys(found):
        if (mark := mark_of(end, now)) is not None:
            yield Expiring(subject, what, end, mark)
