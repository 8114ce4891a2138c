"""The routes of pins: hold a model on devices at one release, end that, and show the effect of each beforehand."""

from typing import Annotated

import msgspec
from aiohttp import web

from contract.wire import Message, decode
from controller.api.auth import actor_of
from controller.api.device_life_routes import MAX_DEVICES_BYTES, Names
from controller.api.route import Route
from controller.api.state_key import STATE
from controller.verbs import device_lives, pins
from controller.verbs.pins import PinAnswer


class UnpinRequest(Message, frozen=True):
    """Devices, and the model whose pins are to end there."""

    devices: Names
    model: str


class PinRequest(UnpinRequest, frozen=True):
    """Devices, the model, and the release at which it is held there."""

    release: int | str | None = None
    """A number, a semantic version or an alias, at this time; None: the release that each device has confirmed."""
    reason: str = ""
    until: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    """Seconds since 1970 at which it ends, within half a minute; 0: it lasts until a person ends it."""


async def pin_devices(request: web.Request) -> list[PinAnswer]:
    """Holds a model on devices at a release: no rollout, roll back or retry moves them. A device on another release is
    sent there, or refused with the reason.
    """
    return await _pin(request, dry_run=False)


async def preview_pins(request: web.Request) -> list[PinAnswer]:
    """What pins would do, with the same refusals; nothing happens."""
    return await _pin(request, dry_run=True)


async def unpin_devices(request: web.Request) -> list[PinAnswer]:
    """Ends the pins of a model. Devices keep what they run; open rollouts take them in again."""
    return await _unpin(request, dry_run=False)


async def preview_unpins(request: web.Request) -> list[PinAnswer]:
    """Which pins would end; nothing happens."""
    return await _unpin(request, dry_run=True)


async def _pin(request: web.Request, *, dry_run: bool) -> list[PinAnswer]:
    state = request.app[STATE]
    asked = decode(await request.read(), PinRequest, max_bytes=MAX_DEVICES_BYTES)
    release = None if asked.release is None else state.aliases.resolve(asked.model, asked.release)
    wanted = pins.Wanted(asked.model, release, asked.reason, asked.until)
    names = device_lives.chosen(state, asked.devices, {})
    return pins.pin(state, names, wanted, actor=actor_of(request), dry_run=dry_run)


async def _unpin(request: web.Request, *, dry_run: bool) -> list[PinAnswer]:
    state = request.app[STATE]
    asked = decode(await request.read(), UnpinRequest, max_bytes=MAX_DEVICES_BYTES)
    names = device_lives.chosen(state, asked.devices, {})
    return pins.unpin(state, names, asked.model, actor=actor_of(request), dry_run=dry_run)


PIN_ROUTES = (
    Route(
        "rollout", "POST", "/v1/devices/pin", pin_devices, "Hold a model at a release", list[PinAnswer],
        PinRequest, max_body_bytes=MAX_DEVICES_BYTES,
    ),
    Route(
        "rollout", "POST", "/v1/devices/pin/dry-run", preview_pins, "What pins would do", list[PinAnswer],
        PinRequest, max_body_bytes=MAX_DEVICES_BYTES,
    ),
    Route(
        "rollout", "POST", "/v1/devices/unpin", unpin_devices, "End pins", list[PinAnswer],
        UnpinRequest, max_body_bytes=MAX_DEVICES_BYTES,
    ),
    Route(
        "rollout", "POST", "/v1/devices/unpin/dry-run", preview_unpins, "Which pins would end", list[PinAnswer],
        UnpinRequest, max_body_bytes=MAX_DEVICES_BYTES,
    ),
)  # fmt: skip
