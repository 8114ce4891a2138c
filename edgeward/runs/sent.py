"""Prepares a run for a controller: without the facts about this machine, and with fewer numbers, for a plot.

Decides which parts are not sent: arguments, directories and answers to pushes, which may hold names and secrets of
this machine. Refuses to know how it is sent.
"""

import math
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec.structs import replace

from contract.errors import EdgewardError
from contract.run_record import Entry, Point, Record
from contract.run_sent import MAX_SENT_POINTS, Curve, SentRun
from edgeward.runs.store import RunStore
from edgeward.settings import find_settings
from edgeward.transport import Transport

MAX_CURVE_POINTS = 2_000
"""Numbers of one metric that are sent: twice the width of a plot."""


def sent_run(record: Record, points: Sequence[Point]) -> SentRun:
    """Returns the parts of a run that a controller gets."""
    entry = Entry((), "", script=Path(record.entry.script).name, script_sha256=record.entry.script_sha256)
    code = replace(record.code, root="") if record.code is not None else None
    pushed = tuple(replace(each, answer={}) for each in record.pushed)
    metrics = {name: value for name, value in record.metrics.items() if math.isfinite(value)}
    told = replace(record, entry=entry, code=code, pushed=pushed, metrics=metrics)
    by_name: dict[str, list[Point]] = {}
    for point in points:
        by_name.setdefault(point.metric, []).append(point)
    most = min(MAX_CURVE_POINTS, MAX_SENT_POINTS // max(len(by_name), 1))
    return SentRun(record=told, curves=tuple(_curve(name, found, most) for name, found in by_name.items()))


def send_run(transport: Transport, store: RunStore, run: str) -> None:
    """Sends a run to a controller, in place of an earlier state of it. BadInput `forbidden`; WorldError
    `controller_unreachable`.
    """
    record = store.load(run)
    transport.put(f"/v1/runs/{record.id}", msgspec.to_builtins(sent_run(record, store.points(record.id))))


def send_or_say(transport: Transport | None, store: RunStore, run: str) -> None:
    """Sends a run that has pushed a version; if the controller refuses it, that is only reported.

    `transport` None: to the controller in the settings, because a step in another process has pushed.
    """
    try:
        send_run(transport or Transport(find_settings()), store, run)
    except EdgewardError as error:
        words = f"edgeward: run {run} was not sent: {error}; again by `edgeward run send {run}`"
        print(words, file=sys.stderr)


def _curve(name: str, found: Sequence[Point], most: int) -> Curve:
    """Every n-th number and the last one, so that at most `most` are left."""
    every = max(1, math.ceil(len(found) / max(most - 1, 1)))
    kept = [*found[:-1:every], found[-1]]
    return Curve(
        metric=name,
        steps=tuple(each.step for each in kept),
        values=tuple(each.value if math.isfinite(each.value) else None for each in kept),
        at=tuple(round(each.at, 3) for each in kept),
        thinned=every > 1,
    )
