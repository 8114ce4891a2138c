"""The routes of drift: moved distributions, estimated quality, breaches, fairness, and the figures that alerts read."""

import asyncio
import math
import time
from collections.abc import Callable, Coroutine
from typing import Any

from aiohttp import web

from contract.errors import BadInput, Code
from contract.wire import Message
from controller.api.route import Route
from controller.api.state_key import STATE
from controller.drift.fairness import Fairness
from controller.drift.report import DEFAULT_DAYS, DriftReport
from controller.drift.signals import Signal
from controller.verbs.drift import look

LOOK_S = 5.0
"""Seconds for which a look is reused: it reads weeks of the store, and its newest block is a day long."""
MAX_LOOKS = 16
"""The most queries whose results are kept."""
Question = tuple[str, int | None, float]
"""A model, a release or None, and days."""


class FairnessView(Message, frozen=True):
    """The rates of one version by group."""

    model: str
    release: int
    days: float
    devices: int
    columns: tuple[Fairness, ...]
    """Empty: the version watches no groups, or no device has counted any."""


async def show_drift(request: web.Request) -> DriftReport:
    """Returns what has drifted in the newest `days` (default 7), compared with the weeks before; `release` default:
    the most used.
    """
    return await _look(request)


async def show_fairness(request: web.Request) -> FairnessView:
    """Returns rates by group in the newest `days`, with intervals; groups of fewer than 30 rows are suppressed."""
    found = await _look(request)
    return FairnessView(
        model=found.model, release=found.release, days=found.days, devices=found.devices, columns=found.fairness
    )


async def list_signals(request: web.Request) -> list[Signal]:
    """Returns figures with interval and limit that rules of alerts read."""
    return list((await _look(request)).signals)


async def _look(request: web.Request) -> DriftReport:
    state, model, asked = request.app[STATE], request.match_info["model"], request.query
    release = asked.get("release", "")
    state.registry.versions(model)
    number = state.aliases.resolve(model, release) if release else None
    days = _days(asked.get("days", str(DEFAULT_DAYS)))
    return await request.app[LOOKS].of((model, number, days), lambda: look(state, model, number, time.time(), days))


class KeptLooks:
    """The newest looks by question. A page asks for drift, fairness and signals at once, which is one look."""

    def __init__(self) -> None:
        self._looks: dict[Question, tuple[asyncio.Task[DriftReport], float]] = {}

    async def of(self, question: Question, ask: Callable[[], Coroutine[Any, Any, DriftReport]]) -> DriftReport:
        """Returns the look of less than `LOOK_S` ago, or one that runs, or a new one."""
        found = self._looks.get(question)
        if found is None or time.monotonic() - found[1] > LOOK_S or _failed(found[0]):
            self._looks.pop(question, None)
            self._looks[question] = found = (asyncio.create_task(ask()), time.monotonic())
            if len(self._looks) > MAX_LOOKS:
                del self._looks[next(iter(self._looks))]
        return await asyncio.shield(found[0])  # a caller who disconnects must not end the look of the others


def _failed(look: asyncio.Task[DriftReport]) -> bool:
    return look.done() and (look.cancelled() or look.exception() is not None)


LOOKS = web.AppKey("looks", KeptLooks)


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
