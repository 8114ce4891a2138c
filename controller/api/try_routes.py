"""The route that tries a model: its form, parity, size, latency and memory; nothing is registered."""

from aiohttp import web

from contract.wire import Message, decode
from controller.api.auth import actor_of
from controller.api.body import PUSHES, while_connected
from controller.api.route import Route
from controller.api.state_key import STATE
from controller.convert.request import ModelKind
from controller.verbs.candidates import Where
from controller.verbs.tries import Tried, try_out


class TryRequest(Message, frozen=True):
    """The JSON part of a try. The other multipart parts are `model` (bytes) and `sample` (npz)."""

    kind: ModelKind
    waive_rows: bool = False
    """Whether few distinct rows of the sample are enough."""
    on: Where | None = None
    """The device, or the class of devices, on which it is probed as well. It never serves there."""


async def try_model(request: web.Request) -> Tried:
    """Converts and measures a model and registers nothing; ends with the caller's connection."""
    async with request.app[PUSHES].received(request) as came:
        wanted = decode(came.request, TryRequest)
        work = try_out(
            request.app[STATE], request.match_info["model"], wanted.kind, came.model, came.sample,
            waive_rows=wanted.waive_rows, where=wanted.on, actor=actor_of(request),
        )  # fmt: skip
        return await while_connected(request, work)


TRY_ROUTES = (
    Route(
        "push", "POST", "/v1/models/{model}/try", try_model, "Measure a model, register nothing", Tried, TryRequest,
        multipart=True, max_body_bytes=0,
    ),
)  # fmt: skip
