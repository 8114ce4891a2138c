"""The routes that only the page asks: every device as a cell, what has changed, and the stream that reports changes.

Decides how long an answer about the whole fleet is reused. Refuses to know how it is drawn.
"""

import gzip
import time
from dataclasses import dataclass, field

from aiohttp import web

from contract.wire import encode
from controller.api.live import COST_RATIO, LIVE, LiveMessage, stream_live
from controller.api.rollout_views import serving_release
from controller.api.route import Route
from controller.api.state_key import STATE
from controller.api.steps import in_steps
from controller.api.telemetry_routes import number_in
from controller.fleet.cells import FleetCells, fleet_cells
from controller.verbs.changes import MAX_HOURS, Change, recent_changes

CELLS_S = 2.0
"""Seconds for which the cells of a question are reused: a page requests cells again once a device has changed."""
MAX_KEPT = 8
"""The most questions whose answers are kept: by two or three labels, for two or three models."""


@dataclass
class KeptCells:
    """Answers about all cells by question: (compressed answer, when, how long it took in seconds)."""

    answers: dict[tuple[str, str], tuple[bytes, float, float]] = field(default_factory=dict)


CELLS = web.AppKey("cells", KeptCells)


async def show_cells(request: web.Request) -> web.Response:
    """Returns every device as a character, grouped `by` a label, with the versions of a `model`; see FleetCells."""
    query, kept = request.query, request.app[CELLS].answers
    question = (query.get("by", "")[:64], query.get("model", "")[:128])
    now = time.monotonic()
    found = kept.get(question)
    if found is None or now - found[1] > max(CELLS_S, COST_RATIO * found[2]):
        state = request.app[STATE]
        twins, seen, spent_s = state.world.durable.twins, await request.app[LIVE].seen(), time.thread_time()
        cells = await in_steps(fleet_cells(twins, seen, serving_release, by=question[0], model=question[1]))
        packed = gzip.compress(encode(cells), compresslevel=4)
        kept.pop(question, None)
        kept[question] = found = (packed, now, time.thread_time() - spent_s)
        if len(kept) > MAX_KEPT:
            del kept[next(iter(kept))]
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        headers = {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
        return web.Response(body=found[0], content_type="application/json", headers=headers)
    return web.Response(body=gzip.decompress(found[0]), content_type="application/json")


async def list_changes(request: web.Request) -> list[Change]:
    """Returns what has changed in the last `hours` (24; at most a month), newest first, in sentences."""
    hours = number_in(request.query.get("hours", "24"))
    return recent_changes(request.app[STATE], min(max(hours, 0.0), MAX_HOURS))


PAGE_ROUTES = (
    Route("view", "GET", "/v1/fleet/cells", show_cells, "Every device as a character", FleetCells),
    Route("view", "GET", "/v1/changes", list_changes, "What has changed, in sentences", list[Change]),
    Route("view", "GET", "/v1/live", stream_live, "Server-sent events: what the page must request again", LiveMessage),
)
