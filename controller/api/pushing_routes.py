"""The route of pushes that are under way: at which step each is, and what share of it is done."""

import time

from aiohttp import web

from contract.wire import Message
from controller.api.route import Route
from controller.api.state_key import STATE
from controller.clock import stamp_of
from controller.convert.under_way import STEPS, UnderWay


class PushUnderWay(Message, frozen=True):
    """One push that is under way."""

    model: str
    by: str
    began_at: str
    """In ISO 8601."""
    took_s: float
    """Seconds since it began."""
    step: str
    words: str
    """The work of this step."""
    number: int
    """The number of the step, from 1."""
    of: int
    ratio: float
    """The share that is done, in [0, 1)."""
    received_bytes: int
    total_bytes: int
    """0: the caller did not say."""


async def list_pushes(request: web.Request) -> list[PushUnderWay]:
    """Returns the pushes that are under way, the one that began first at the top."""
    now = time.time()
    return [_view(each, now) for each in request.app[STATE].pushing.all]


def _view(push: UnderWay, now: float) -> PushUnderWay:
    push.look()
    return PushUnderWay(
        model=push.model, by=push.by, began_at=stamp_of(push.began_at), took_s=round(now - push.began_at, 1),
        step=push.step, words=STEPS[push.step][0], number=list(STEPS).index(push.step) + 1, of=len(STEPS),
        ratio=round(push.ratio, 3), received_bytes=push.received_bytes, total_bytes=push.total_bytes,
    )  # fmt: skip


PUSHING_ROUTES = (Route("view", "GET", "/v1/pushes", list_pushes, "Pushes under way", list[PushUnderWay]),)
