"""The routes of telemetry: what devices measured, their vitals, and the verdicts of a rollout as a series."""

import math
import time

import msgspec
from aiohttp import web

from contract.errors import BadInput, Code
from controller.api.rollout_views import VerdictPointView, verdict_view
from controller.api.route import Route
from controller.api.state_key import STATE
from controller.api.vitals_views import VitalsRow, vitals_rows
from controller.clock import stamp_of
from controller.fleet.fit import stratum_of
from controller.fleet.unmatched import unknown_device
from controller.reconcile.measured import open_marks
from controller.rollout.model import Strategy, Wave
from controller.rollout.rows import HOUR_S, RECENT_S
from controller.rollout.verdict import RuleVerdict
from controller.state import State
from controller.telemetry.queries import MAX_ROWS, SPANS_S, TelemetryRow, rows_by
from controller.telemetry.vitals import KEEP_S
from controller.verbs import rollouts

DAY_S = 86_400.0
_KINDS = Strategy(name="", waves=(Wave(percent=100),)).strata


async def query_telemetry(request: web.Request) -> list[TelemetryRow]:
    """Returns what devices measured of a model, oldest first.

    `every` is minute, ten_minutes, hour or day, `by` is fleet, stratum or device.

    `since` and `until` are seconds since 1970; without them the newest day. BadInput `request_invalid`, also for more
    than 10,000 rows.
    """
    state, query = request.app[STATE], request.query
    every, by = query.get("every", "hour"), query.get("by", "fleet")
    if every not in SPANS_S or by not in ("fleet", "stratum", "device"):
        raise BadInput(
            Code.REQUEST_INVALID, "expected every = minute, ten_minutes, hour or day, and by = fleet, stratum or device"
        )
    until = number_in(query.get("until", "")) or time.time() + 1
    since = number_in(query.get("since", "")) or until - DAY_S
    model = request.match_info["model"]
    state.registry.versions(model)
    past = (row for row in state.telemetry.past(model, since) if row[2] < until)
    rows = rows_by(past, every, lambda device: _named(state, by, device))
    if len(rows) > MAX_ROWS:
        raise BadInput(Code.REQUEST_INVALID, f"{len(rows)} rows, at most {MAX_ROWS}: ask for less time, or every = day")
    return rows


async def device_telemetry(request: web.Request) -> list[TelemetryRow]:
    """Returns what one device measured of a model in the newest day, oldest first: by the hour, then by ten minutes."""
    state, device, model = request.app[STATE], request.match_info["device"], request.match_info["model"]
    if device not in state.world.durable.twins:
        raise unknown_device(device, state.world.durable.twins)
    now = time.time()
    marks = open_marks(state.world)
    past = state.telemetry.past_of_device(device, model, now - DAY_S, now, marks)
    fine_from = (now - RECENT_S) // HOUR_S * HOUR_S
    hours = rows_by((row for row in past if row[2] < fine_from), "hour", lambda name: name)
    return hours + rows_by((row for row in past if row[2] >= fine_from), "ten_minutes", lambda name: name)


async def device_vitals(request: web.Request) -> list[VitalsRow]:
    """Returns what a device reported about itself in the newest `hours` (default 24), oldest first; older rows are by
    the hour.

    The last row covers the current five minutes, which are not over. A retired device has none: they were deleted.
    BadInput `unknown_device`, `request_invalid`.
    """
    state, device = request.app[STATE], request.match_info["device"]
    if device not in state.world.durable.twins and device not in state.world.durable.retired:
        raise unknown_device(device, state.world.durable.twins)
    hours, most = number_in(request.query.get("hours", "24")), KEEP_S / HOUR_S
    if not 0 < hours <= most:
        raise BadInput(Code.REQUEST_INVALID, f"hours = {hours:g}: expected more than 0, and at most {most:g}")
    found, span = state.vitals.series(device, time.time() - hours * HOUR_S), state.world.measured.vitals.get(device)
    return vitals_rows([*found, span.vitals()] if span is not None else found)


async def list_verdicts(request: web.Request) -> list[VerdictPointView]:
    """Returns the verdicts of a rollout's rules, with their numbers, oldest first."""
    state, name = request.app[STATE], request.match_info["rollout"]
    rollouts.find(state, name)
    points = ((at, msgspec.json.decode(body, type=RuleVerdict)) for at, body in state.telemetry.verdicts(name))
    return [
        VerdictPointView(at=stamp_of(at), **msgspec.structs.asdict(verdict_view(verdict))) for at, verdict in points
    ]


def _named(state: State, by: str, device: str) -> str:
    if by == "device":
        return device
    twin = state.world.durable.twins.get(device)
    return "" if by == "fleet" or twin is None else stratum_of(twin, _KINDS)


def number_in(text: str) -> float:
    """Returns a finite number of a query; BadInput `request_invalid`."""
    try:
        found = float(text or 0)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise BadInput(Code.REQUEST_INVALID, f"{text[:40]!r}: expected a number")
    return found


TELEMETRY_ROUTES = (
    Route("view", "GET", "/v1/models/{model}/telemetry", query_telemetry, "What devices measured", list[TelemetryRow]),
    Route(
        "view",
        "GET",
        "/v1/devices/{device}/models/{model}/telemetry",
        device_telemetry,
        "What one device measured",
        list[TelemetryRow],
    ),
    Route(
        "view", "GET", "/v1/devices/{device}/vitals", device_vitals, "What it reported about itself", list[VitalsRow]
    ),
    Route(
        "view", "GET", "/v1/rollouts/{rollout}/verdicts", list_verdicts, "Verdicts over time", list[VerdictPointView]
    ),
)
