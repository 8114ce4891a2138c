"""The routes of sticks: what devices without a broker find there, and the messages that they left there."""

from aiohttp import web

from contract.stick import StickMessages
from contract.wire import decode
from controller.api import operator_views as views
from controller.api.auth import actor_of
from controller.api.route import Route
from controller.api.state_key import STATE
from controller.verbs import sticks

MAX_STICK_MESSAGES_BYTES = 16 * 1024 * 1024
"""The size of the largest files of four devices."""


async def export_stick(request: web.Request) -> views.StickView:
    """Returns what the broker holds for the devices that `?device=` names, or for all."""
    state = request.app[STATE]
    named = request.query.getall("device", None) or sorted(state.world.durable.twins)
    found = sticks.export(state, named)
    return views.StickView(
        documents=dict(found.documents),
        blobs=list(found.blobs),
        devices=list(found.devices),
        missing=dict(found.missing),
    )


async def import_stick(request: web.Request) -> views.StickTaken:
    """Takes the messages that devices wrote to a stick as if the broker had brought them; devices with a key must have
    signed.
    """
    messages = decode(await request.read(), StickMessages, max_bytes=MAX_STICK_MESSAGES_BYTES)
    taken = sticks.take_messages(request.app[STATE], messages, actor=actor_of(request))
    return views.StickTaken(taken=taken, refused=len(messages.messages) - taken)


STICK_ROUTES = (
    Route("view", "GET", "/v1/stick", export_stick, "The documents for devices on a stick", views.StickView),
    Route(
        "device", "POST", "/v1/stick", import_stick, "Messages of devices on a stick", views.StickTaken, StickMessages,
        max_body_bytes=MAX_STICK_MESSAGES_BYTES,
    ),
)  # fmt: skip
