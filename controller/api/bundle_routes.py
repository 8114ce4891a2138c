"""The routes of sticks: what devices without a broker would find there, and what they said, brought back."""

from aiohttp import web

from contract.bundle import Words
from contract.errors import BadInput, Code
from contract.wire import decode
from controller.api import views
from controller.api.auth import actor_of
from controller.api.route import Route
from controller.api.service_key import SERVICE
from controller.broker.messages import blobs_in_use
from controller.service import stamp

MAX_WORDS_BYTES = 16 * 1024 * 1024
"""Four devices' files at their largest."""


async def export_bundle(request: web.Request) -> views.BundleView:
    """What the broker holds for the devices that `?device=` names, or for all."""
    service = request.app[SERVICE]
    twins = service.world.twins
    named = request.query.getall("device", None) or sorted(twins)
    if unknown := [device for device in named if device not in twins]:
        raise BadInput(Code.UNKNOWN_DEVICE, f"no device {unknown[0][:64]!r} has reported")
    chosen = {device: twins[device] for device in named if twins[device].document_version}
    models = {model for twin in chosen.values() for model in twin.desired}
    retained = [*service.publisher.trust(models), *map(service.publisher.desired, chosen.values())]
    return views.BundleView(
        documents={message.topic: message.payload.decode() for message in retained},
        blobs=list(blobs_in_use(chosen, service.publisher).values()),
        devices=sorted(chosen),
    )


async def import_bundle(request: web.Request) -> views.BundleTaken:
    """Take what devices said to a stick, as if the broker had brought it: signed words of those that must sign."""
    service = request.app[SERVICE]
    words = decode(await request.read(), Words, max_bytes=MAX_WORDS_BYTES)
    taken = sum(service.take_message(each.topic, each.text.encode()) for each in words.messages)
    service.journal.audit(stamp(), actor_of(request), "bundle import", f"{taken} of {len(words.messages)} messages")
    return views.BundleTaken(taken=taken, refused=len(words.messages) - taken)


BUNDLE_ROUTES = (
    Route("view", "GET", "/v1/bundle", export_bundle, "What a stick carries to devices", views.BundleView),
    Route(
        "device", "POST", "/v1/bundle", import_bundle, "What devices said to a stick", views.BundleTaken, Words,
        max_body_bytes=MAX_WORDS_BYTES,
    ),
)  # fmt: skip
