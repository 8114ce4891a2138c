"""The routes of sticks: what devices without a broker would find there, and what they said, brought back."""

from aiohttp import web

from contract.bundle import Words
from contract.wire import decode
from controller.api import views
from controller.api.auth import actor_of
from controller.api.route import Route
from controller.api.state_key import STATE
from controller.verbs import sticks

MAX_WORDS_BYTES = 16 * 1024 * 1024
"""Four devices' files at their largest."""


async def export_bundle(request: web.Request) -> views.BundleView:
    """What the broker holds for the devices that `?device=` names, or for all."""
    state = request.app[STATE]
    named = request.query.getall("device", None) or sorted(state.world.durable.twins)
    documents, blobs, devices = sticks.export(state, named)
    return views.BundleView(documents=documents, blobs=blobs, devices=devices)


async def import_bundle(request: web.Request) -> views.BundleTaken:
    """Takes what devices wrote to a stick, as if the broker had brought it; devices that must sign have signed it."""
    words = decode(await request.read(), Words, max_bytes=MAX_WORDS_BYTES)
    taken = sticks.take_words(request.app[STATE], words, actor=actor_of(request))
    return views.BundleTaken(taken=taken, refused=len(words.messages) - taken)


BUNDLE_ROUTES = (
    Route("view", "GET", "/v1/bundle", export_bundle, "What a stick carries to devices", views.BundleView),
    Route("device", "POST", "/v1/bundle", import_bundle, "What devices said to a stick", views.BundleTaken, Words),
)
