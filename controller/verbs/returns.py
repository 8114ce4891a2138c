"""When offline devices may return, by their own past: for the remaining time of a rollout.

Decides how many devices are examined, and what is kept in memory. Refuses to know which absences are similar:
`fleet.absences` does.
"""

from collections.abc import Iterable

from controller.fleet.absences import Absence, Return, absences, return_of
from controller.state import State
from controller.telemetry.vitals import KEEP_S

MAX_DEVICES = 200
"""The most devices that are examined: 1 to 2 ms each if nothing is in memory. A larger sample gives the same result."""
MAX_KEPT = 10_000
"""Devices whose absences stay in memory, some kB each; after that all are read again."""


def returns_of(state: State, devices: Iterable[str], now: float) -> dict[str, Return | None]:
    """Returns for each device when it may return; None if too little is known. At most `MAX_DEVICES` of them."""
    found = {}
    for device in list(devices)[:MAX_DEVICES]:
        past, away_since = _past_of(state, device, now)
        found[device] = return_of(past, away_since, now) if away_since is not None else None
    return found


def _past_of(state: State, device: str, now: float) -> tuple[tuple[Absence, ...], float | None]:
    """Returns (its absences, the time of its last message). They are valid until its next message."""
    twin = state.world.durable.twins.get(device)
    seen_at = twin.seen_at if twin is not None else None
    known = state.absences.get(device)
    if known is not None and known[0] == seen_at:
        return known[1], known[2]
    heard = state.vitals.heard(device, now - KEEP_S)
    ends = [start + span_s for start, span_s in heard]
    away_since = seen_at if seen_at is not None else max(ends, default=None)
    if len(state.absences) >= MAX_KEPT:
        state.absences.clear()
    past = tuple(absences(heard))
    state.absences[device] = (seen_at, past, away_since)
    return past, away_since
