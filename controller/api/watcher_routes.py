"""The routes of the watcher: its findings, and the history of the fleet for its trainer."""

import time

from aiohttp import web

from contract.watcher import THRESHOLD, WATCHER
from contract.wire import Message
from controller.api.route import Route
from controller.api.state_key import STATE
from controller.api.telemetry_routes import number_in
from controller.verbs import watcher
from controller.watcher.departure import Departure
from controller.watcher.features import FEATURES
from controller.watcher.hours import HOUR_S


class WatcherView(Message, frozen=True):
    """The findings of the watcher's newest looks at the fleet."""

    model: str
    release: int
    """The version of the watcher's model that judges; 0: there is none."""
    trained_at: str
    """When it was pushed, in ISO 8601; empty without one."""
    threshold: float | None
    alarms_per_device_month: float | None
    """How often it would have found a departure per device and month in the history on which it was trained."""
    looked_at: float | None
    """Seconds since 1970."""
    judged: int
    """Devices of the fleet that were judged."""
    young: int
    """Devices that have less than three days of vitals."""
    fault: str
    """Why the newest look failed; empty if it did not."""
    departures: tuple[Departure, ...]
    """The largest departure first."""


class DeviceHistory(Message, frozen=True):
    """How far one device departed from what is usual for it, hour by hour."""

    device: str
    hours: tuple[float, ...]
    """When each hour began, in seconds since 1970."""
    rows: tuple[tuple[float, ...], ...]
    """The row of each hour: a number by feature."""


class WatcherHistory(Message, frozen=True):
    """The rows on which a watcher is trained."""

    features: tuple[str, ...]
    devices: tuple[DeviceHistory, ...]


async def show_watcher(request: web.Request) -> WatcherView:
    """Returns what the watcher has found, the largest departure first."""
    state = request.app[STATE]
    version, watch = watcher.current(state), state.watch
    metrics = version.lineage.metrics if version is not None else {}
    known = watch.judged.values()
    return WatcherView(
        model=WATCHER,
        release=version.release if version is not None else 0,
        trained_at=version.lineage.created_at if version is not None else "",
        threshold=metrics.get(THRESHOLD),
        alarms_per_device_month=metrics.get("alarms_per_device_month"),
        looked_at=watch.looked_at,
        judged=sum(known),
        young=sum(not each for each in known),
        fault=watch.fault,
        departures=tuple(sorted(watch.found.values(), key=lambda each: -each.times)),
    )


async def show_history(request: web.Request) -> WatcherHistory:
    """Returns departures of devices in the newest `days` (default 14); of a large fleet only a sample of devices."""
    state, now = request.app[STATE], time.time()
    fleet, found = await watcher.history(state, now, number_in(request.query.get("days", "14")))
    hours = found.known.shape[1]
    starts = [now // HOUR_S * HOUR_S - (hours - place) * HOUR_S for place in range(hours)]
    devices = []
    for place, device in enumerate(fleet.devices):
        known = found.known[place]
        rows = found.features[place][known].round(3).tolist()
        at = tuple(start for start, told in zip(starts, known.tolist(), strict=True) if told)
        devices.append(DeviceHistory(device=device, hours=at, rows=tuple(map(tuple, rows))))
    return WatcherHistory(features=FEATURES, devices=tuple(devices))


WATCHER_ROUTES = (
    Route("view", "GET", "/v1/watcher", show_watcher, "What the watcher has found", WatcherView),
    Route("view", "GET", "/v1/watcher/history", show_history, "Rows to train it on", WatcherHistory),
)
