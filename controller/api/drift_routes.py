"""The routes of drift: what has moved, estimated quality, breaches, fairness, and the figures that alerts read."""

import math
import time

from aiohttp import web

from contract.errors import BadInput, Code
from contract.wire import Message
from controller.api.route import Route
from controller.api.state_key import STATE
from controller.drift.fairness import Fairness
from controller.drift.report import DEFAULT_DAYS, DriftReport
from controller.drift.signals import Signal
from controller.verbs.drift import look


class FairnessView(Message, frozen=True):
    """What groups got from one version."""

    model: str
    release: int
    days: float
    devices: int
    columns: tuple[Fairness, ...]
    """Empty: the version watches no groups, or no device has counted any."""


async def show_drift(request: web.Request) -> DriftReport:
    """What has moved in the newest `days` (default 7), against the weeks before; `release` default: the most run."""
    return await _look(request)


async def show_fairness(request: web.Request) -> FairnessView:
    """Rates by group in the newest `days`, with intervals; groups of fewer than 30 rows are suppressed."""
    found = await _look(request)
    return FairnessView(
        model=found.model, release=found.release, days=found.days, devices=found.devices, columns=found.fairness
    )


async def list_signals(request: web.Request) -> list[Signal]:
    """Figures with interval and limit that rules of alerts read."""
    return list((await _look(request)).signals)


async def _look(request: web.Request) -> DriftReport:
    state, model, asked = request.app[STATE], request.match_info["model"], request.query
    release = asked.get("release", "")
    state.registry.versions(model)
    number = state.aliases.resolve(model, release) if release else None
    return await look(state, model, number, time.time(), _days(asked.get("days", str(DEFAULT_DAYS))))


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = math.nan
    if not math.isfinite(days):
        raise BadInput(Code.REQUEST_INVALID, f"{text[:20]!r}: expected a number of days")
    return days


_MODEL = "/v1/models/{model}"
DRIFT_ROUTES = (
    Route("view", "GET", f"{_MODEL}/drift", show_drift, "What has moved", DriftReport),
    Route("view", "GET", f"{_MODEL}/fairness", show_fairness, "What groups got", FairnessView),
    Route("view", "GET", f"{_MODEL}/signals", list_signals, "Figures for alerts", list[Signal]),
)
