"""What expires soon, and at which marks somebody is told: pure, from dates.

Decides when a warning is due: at 30, 7 and 1 days, and at the end. Refuses to know who was told before.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from controller.fleet.twin import Twin

MARKS_DAYS = (30, 7, 1, 0)
"""A month to plan, a week to act, a day to drop everything else; 0: it has expired."""
DAY_S = 86_400.0
SELF_RENEWED = ("snapshot", "timestamp")
"""Roles that live for days and are signed anew by the controller: passes fail where they are not."""
FLEET, CONTROLLER = "fleet", "controller"
"""Subjects of what all devices rely on, and of what the controller has itself; no device's name is looked up there."""
STARTED_BROKER = "certificate server"
"""Among the controller's own: the certificate of a broker that it has started."""
MAX_WARNINGS = 100
"""That one look tells: devices may say any date, and those of one day that were left in a store expire together."""


class Expiring(NamedTuple):
    """Something that expires soon, or has."""

    subject: str
    what: str
    expires: float
    """Seconds since 1970."""
    mark_days: int
    """The newest mark that is behind it, of MARKS_DAYS."""


def mark_of(expires: float, now: float) -> int | None:
    """The newest mark that is behind `now`; None while there are more than 30 days."""
    passed = [days for days in MARKS_DAYS if expires - now <= days * DAY_S]
    return min(passed, default=None)


def expiring(
    twins: Iterable[Twin], certificates: Mapping[str, float], own: Mapping[str, float], now: float
) -> Iterator[Expiring]:
    """Everything that is past a mark. `certificates` are the newest ones that were issued, by device; `own` are the
    controller's certificates and roles. A broker elsewhere is told of once, for the fleet, by what devices have seen.
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
