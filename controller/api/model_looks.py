"""The routes that examine a model: the quality of its versions over time, and their lineage and devices.

Decides how much telemetry one answer reads. Refuses to know how quality is estimated.
"""

import asyncio
import time

from aiohttp import web

from contract.errors import BadInput, Code
from contract.wire import Message
from controller.api.route import Route
from controller.api.state_key import STATE
from controller.api.version_routes import number_of
from controller.rollout.plan import unit_hash
from controller.telemetry.quality import QualityPoint, quality
from controller.telemetry.queries import SPANS_S
from controller.verbs.lineage import Lineage, lineage_of

DAYS = 30
MAX_DAYS = 400
"""The days for which telemetry is kept."""
MAX_ROWS = 200_000
"""The most rows for one answer, which takes about 2 s: in a larger fleet only a part of the devices is used, by a
stable hash."""


class Quality(Message, frozen=True):
    """The quality of a model's versions over time."""

    devices_ratio: float
    """The fraction of the fleet's devices that was used, at most 1."""
    points: tuple[QualityPoint, ...]


async def show_quality(request: web.Request) -> Quality:
    """Returns quality by version of the newest `days` (30), in steps of `every` hour or day, with
    intervals and counts.
    """
    state, model, asked = request.app[STATE], request.match_info["model"], request.query
    state.registry.versions(model)
    every, days = asked.get("every", "day"), number_of(asked.get("days", str(DAYS)))
    if every not in ("hour", "day") or not 1 <= days <= MAX_DAYS:
        raise BadInput(Code.REQUEST_INVALID, f"expected every = hour or day, and days = 1 to {MAX_DAYS}")
    rows = len(state.world.durable.twins) * days * 24
    ratio = min(1.0, MAX_ROWS / max(rows, 1))
    since = time.time() - days * SPANS_S["day"]
    looked_at = [name for name in state.world.durable.twins if unit_hash("quality", name) < ratio]
    past = list(state.telemetry.past(model, since, None if ratio >= 1.0 else looked_at))
    points = await asyncio.to_thread(quality, past, SPANS_S[every])  # type: ignore[index]  # checked above
    return Quality(devices_ratio=ratio, points=tuple(points))


async def show_lineage(request: web.Request) -> Lineage:
    """Returns where the newest versions of a model come from and which devices they reached, as nodes and edges."""
    return lineage_of(request.app[STATE], request.match_info["model"])


MODEL_LOOKS = (
    Route("view", "GET", "/v1/models/{model}/quality", show_quality, "Quality over time", Quality),
    Route("view", "GET", "/v1/models/{model}/lineage", show_lineage, "Lineage as a graph", Lineage),
)
