"""The routes by which people ask one device for its log or its doctor. Viewers may not do this: log lines show what
people do there.
"""

from aiohttp import web

from contract.errors import BadInput, Code
from contract.inquiries import MAX_LINES, What
from contract.wire import Message
from controller.api.auth import actor_of
from controller.api.route import Route
from controller.api.state_key import STATE
from controller.api.version_routes import number_of
from controller.verbs import inquiries

DEFAULT_LINES = 100


class DeviceLines(Message, frozen=True):
    """The answer of a device."""

    device: str
    lines: tuple[str, ...]
    """Oldest first, without secrets, as the device has them."""
    left_out: int
    """The number of older lines that the device has and did not send."""


async def device_logs(request: web.Request) -> DeviceLines:
    """Returns the newest log lines of a device, `lines` of them (100; at most 400), asked of the device now."""
    lines = number_of(request.query.get("lines", str(DEFAULT_LINES)))
    if not 1 <= lines <= MAX_LINES:
        raise BadInput(Code.REQUEST_INVALID, f"lines {lines}: ask for 1 to {MAX_LINES}")
    return await _asked(request, "logs", lines)


async def device_doctor(request: web.Request) -> DeviceLines:
    """Returns what a device's doctor finds now: a line for each check, which begins with `ok` or `FAIL`."""
    return await _asked(request, "doctor", MAX_LINES)


async def _asked(request: web.Request, what: What, lines: int) -> DeviceLines:
    device = request.match_info["device"]
    answer = await inquiries.ask(request.app[STATE], device, what, lines, actor=actor_of(request))
    return DeviceLines(device=device, lines=answer.lines, left_out=answer.left_out)


INQUIRY_ROUTES = (
    Route("device", "GET", "/v1/devices/{device}/logs", device_logs, "The newest log lines of a device", DeviceLines),
    Route(
        "device", "GET", "/v1/devices/{device}/doctor", device_doctor, "The findings of a device's doctor", DeviceLines
    ),
)
