"""The routes of devices' lives: retire, replace, adopt, for one device or many; and the list of retired devices."""

from typing import Annotated

import msgspec
from aiohttp import web

from contract.wire import Message, decode
from controller.api import views
from controller.api.auth import actor_of
from controller.api.route import Route
from controller.api.state_key import STATE
from controller.state import State
from controller.verbs import device_lives
from controller.verbs.device_lives import MAX_DEVICES, DeviceAnswer

MAX_DEVICES_BYTES = 128 * MAX_DEVICES

Names = Annotated[tuple[Annotated[str, msgspec.Meta(max_length=128)], ...], msgspec.Meta(max_length=MAX_DEVICES)]


class DevicesRequest(Message, frozen=True):
    """Devices by name, by their labels, or both."""

    devices: Names = ()
    selector: dict[str, str] = {}


class AdoptRequest(Message, frozen=True):
    """Devices by name: their labels are not known here yet."""

    devices: Names


async def retire(request: web.Request) -> list[DeviceAnswer]:
    """Takes devices out of the fleet."""
    state, names = await _chosen(request)
    return await device_lives.retire(state, names, actor=actor_of(request))


async def replace(request: web.Request) -> list[DeviceAnswer]:
    """Prepares new hardware under known names."""
    state, names = await _chosen(request)
    return await device_lives.replace(state, names, actor=actor_of(request))


async def adopt(request: web.Request) -> list[DeviceAnswer]:
    """Adopts devices from another controller."""
    state = request.app[STATE]
    asked = decode(await request.read(), AdoptRequest, max_bytes=MAX_DEVICES_BYTES)
    return device_lives.adopt(state, device_lives.chosen(state, asked.devices, {}), actor=actor_of(request))


async def list_retired(request: web.Request) -> list[views.RetiredView]:
    """Returns the retired devices."""
    retired = request.app[STATE].world.durable.retired
    return [views.RetiredView(device=device, at=each.at, by=each.by) for device, each in sorted(retired.items())]


async def _chosen(request: web.Request) -> tuple[State, list[str]]:
    state = request.app[STATE]
    asked = decode(await request.read(), DevicesRequest, max_bytes=MAX_DEVICES_BYTES)
    return state, device_lives.chosen(state, asked.devices, asked.selector)


DEVICE_LIFE_ROUTES = (
    Route("view", "GET", "/v1/retired", list_retired, "Devices that left the fleet", list[views.RetiredView]),
    Route(
        "device", "POST", "/v1/devices/retire", retire, "Take devices out of the fleet", list[DeviceAnswer],
        DevicesRequest, max_body_bytes=MAX_DEVICES_BYTES,
    ),
    Route(
        "device", "POST", "/v1/devices/replace", replace, "New hardware under known names", list[DeviceAnswer],
        DevicesRequest, max_body_bytes=MAX_DEVICES_BYTES,
    ),
    Route(
        "device", "POST", "/v1/devices/adopt", adopt, "Take devices over from another controller", list[DeviceAnswer],
        AdoptRequest, max_body_bytes=MAX_DEVICES_BYTES,
    ),
)  # fmt: skip
