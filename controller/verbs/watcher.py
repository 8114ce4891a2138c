"""Runs the watcher: the fleet's history for its trainer, and looks at the newest hour by its newest version.

Decides which version judges, and how much of the fleet one look covers. Scores come from a confined child, because
a version is a file that a user has pushed. Refuses to know what is unusual: `controller.watcher` does.
"""

import asyncio
import logging
import math

from contract.errors import BadInput, Code, EdgewardError
from contract.names import unit_number
from contract.watcher import THRESHOLD, WATCHER
from controller.evaluate.evaluate import evaluate
from controller.evaluate.request import encode_rows
from controller.registry.version import Version
from controller.state import State
from controller.telemetry.vitals import KEEP_S, read_vitals
from controller.verbs.gates import stored_form
from controller.verbs.labels import kind_of
from controller.watcher.departure import Departure, Watch, asked_rows, departed
from controller.watcher.features import DAY_H, PAST_D, Departures, Fleet, departures
from controller.watcher.hours import HOUR_S, by_hour

LOOK_S = 300.0
"""Seconds between two looks at parts of a large fleet, and after a failed one."""
MAX_DEVICES = 1_000
"""The most devices of one look: 2.5 s of a thread and 300 MB. 12,000 devices are judged each hour, and 100,000 every
eight hours."""
MAX_HISTORY_ROWS = 30_000
"""The most hours of devices that a trainer gets: 40 months of one device, 4 MB of JSON."""
MAX_HISTORY_D = 21.0
PLACE = "site"
"""The label of places if `publish.neighbours` names none."""
PAST_H = PAST_D * DAY_H + 2 * DAY_H
"""Hours that are read to judge the newest one: its past, and a day before it for rises."""

_log = logging.getLogger("edgeward.watcher")


def current(state: State) -> Version | None:
    """Returns the version that judges: the newest one that has passed its gates and has a threshold. None: there is
    none.
    """
    try:
        found = state.registry.newest_passed(WATCHER)
    except BadInput:
        return None
    return found if threshold_of(found) < math.inf else None


def threshold_of(version: Version) -> float:
    """Returns the score beyond which a version says that a device departs; infinite if it names none."""
    found = version.lineage.metrics.get(THRESHOLD, math.inf)
    return found if found > 0 else math.inf


def kind_and_place(state: State, device: str) -> str:
    """Returns what a device has in common with others (weather, load, releases): its stratum, and its place."""
    labels = state.world.durable.twins[device].labels
    return f"{kind_of(state, device)}/{labels.get(state.world.neighbours_by or PLACE, '')}"


async def history(state: State, now: float, days: float) -> tuple[Fleet, Departures]:
    """Returns the newest `days` of as many devices as `MAX_HISTORY_ROWS` allows, chosen by a stable hash of their
    names.

    BadInput `request_invalid`.
    """
    if not 1.0 <= days <= MAX_HISTORY_D:
        raise BadInput(Code.REQUEST_INVALID, f"{days:g} days: expected 1 to {MAX_HISTORY_D:g}")
    hours = int(days * DAY_H)
    known = sorted(state.world.durable.twins, key=unit_number)[: max(1, MAX_HISTORY_ROWS // hours)]
    kinds = {device: kind_and_place(state, device) for device in known}
    return await asyncio.to_thread(_departures, state, kinds, now, hours)


def is_due(state: State, now: float) -> bool:
    """Whether an hour has ended, a version was added, or a part of the fleet waits. A failed look waits `LOOK_S`."""
    watch, version = state.watch, current(state)
    if version is None:
        state.watch = watch if not watch.release else Watch()
        return False
    if now - watch.tried_at < LOOK_S and (watch.fault or watch.after is not None):
        return False
    return watch.release != version.release or watch.hour < now // HOUR_S * HOUR_S or watch.after is not None


async def look(state: State, now: float) -> None:
    """Judges the newest whole hour of the next devices. `edgeward watcher show` reports faults."""
    version = current(state)
    if version is None:
        return
    if state.watch.release != version.release:
        state.watch = Watch(release=version.release, threshold=threshold_of(version))
    watch = state.watch
    ordered = sorted((kind_and_place(state, device), device) for device in state.world.durable.twins)
    waiting = [each for each in ordered if watch.after is None or each > watch.after][:MAX_DEVICES]
    end, is_last = now // HOUR_S * HOUR_S, not waiting or waiting[-1] == ordered[-1]
    watch.tried_at = now
    try:
        kinds = {device: kind for kind, device in waiting}
        fleet, found = await asyncio.to_thread(_departures, state, kinds, now, 1)
        unusual = await _judge(state, version, fleet, found, end - HOUR_S)
    except EdgewardError as error:
        watch.fault = f"{error.code}: {error.detail}"
        _log.warning("v%d of %s could not judge: %s", version.release, WATCHER, watch.fault)
        return
    watch.fault, watch.hour, watch.after = "", end, None if is_last else waiting[-1]
    watch.looked_at = now
    known = dict(zip(fleet.devices, found.known[:, -1].tolist(), strict=True))
    there = state.world.durable.twins
    watch.judged = {device: told for device, told in {**watch.judged, **known}.items() if device in there}
    kept = {device: each for device, each in watch.found.items() if device in there and device not in known}
    watch.found = kept | {each.device: each for each in unusual}


async def _judge(state: State, version: Version, fleet: Fleet, found: Departures, at: float) -> list[Departure]:
    if not fleet.devices:
        return []
    settings = state.config.convert
    form = await asyncio.to_thread(stored_form, state, version)
    rows = await asyncio.to_thread(lambda: encode_rows(asked_rows(found)))
    measured = await evaluate(form, None, rows, timeout_s=settings.timeout_s, memory_mb=settings.memory_mb)
    assert measured.answers is not None  # rows were handed in
    return departed(fleet, found, measured.answers.tolist(), threshold_of(version), at)


def _departures(state: State, kinds: dict[str, str], now: float, hours: int) -> tuple[Fleet, Departures]:
    """Returns the departures of the newest hours; runs in a thread, so it reads by its own connection."""
    since = max(now - KEEP_S, now - (hours + PAST_H) * HOUR_S)
    fleet = by_hour(read_vitals(state.vitals.path, kinds, since), kinds, now, hours + PAST_H)
    return fleet, departures(fleet, hours)
