"""The route that sends devices a remote configuration."""

from aiohttp import web

from contract.remote_config import RemoteConfig
from contract.wire import Message, decode
from controller.api.auth import actor_of
from controller.api.device_life_routes import MAX_DEVICES_BYTES, Names
from controller.api.route import Route
from controller.api.state_key import STATE
from controller.verbs import device_lives, tuning
from controller.verbs.device_lives import DeviceAnswer


class TuneRequest(Message, frozen=True):
    """Devices, and the values that replace parts of their own files. The controller chooses the version."""

    devices: Names
    config: RemoteConfig


async def tune(request: web.Request) -> list[DeviceAnswer]:
    """Sends devices a configuration to try; its state is shown with each device."""
    state = request.app[STATE]
    asked = decode(await request.read(), TuneRequest, max_bytes=MAX_DEVICES_BYTES)
    names = device_lives.chosen(state, asked.devices, {})
    return tuning.tune(state, names, asked.config, actor=actor_of(request))


TUNING_ROUTES = (
    Route(
        "device", "POST", "/v1/devices/tune", tune, "Send devices another configuration", list[DeviceAnswer],
        TuneRequest, max_body_bytes=MAX_DEVICES_BYTES,
    ),
)  # fmt: skip
