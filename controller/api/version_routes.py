"""The routes of withdrawing a version, and of taking that back; and what every view of a version needs to know."""

from aiohttp import web

from contract.errors import BadInput, Code
from contract.wire import Message, decode
from controller.api import views
from controller.api.auth import actor_of
from controller.api.route import Route
from controller.api.state_key import STATE
from controller.registry.registry import Version, Withdrawal
from controller.state import State
from controller.verbs import versions


class WithdrawRequest(Message, frozen=True):
    """A request to withdraw a version."""

    reason: str
    """Why: everybody who wants to start it is told."""


async def withdraw_version(request: web.Request) -> views.VersionDetail:
    """Keeps a version from every rollout that starts from now on; devices that run it go on, and are shown."""
    state = request.app[STATE]
    reason = decode(await request.read(), WithdrawRequest).reason
    model, release = request.match_info["model"], number_of(request.match_info["release"])
    version = versions.withdraw(state, model, release, reason=reason, actor=actor_of(request))
    return views.version_detail(version, *known_of(state, version))


async def reinstate_version(request: web.Request) -> views.VersionDetail:
    """Lets a withdrawn version be rolled out again."""
    state = request.app[STATE]
    model, release = request.match_info["model"], number_of(request.match_info["release"])
    version = versions.reinstate(state, model, release, actor=actor_of(request))
    return views.version_detail(version, *known_of(state, version))


def known_of(state: State, version: Version) -> tuple[Withdrawal | None, list[str], views.VersionMeasuredView]:
    """(by whom, when and why it was withdrawn, devices that have it, what they have measured)."""
    model, release = version.model, version.release
    known = state.registry.withdrawal(model, release)
    devices = versions.devices_by_release(state, model).get(release, [])
    return known, devices, views.version_measured(state.world, model, release)


def number_of(text: str) -> int:
    """A number in a path or a query; BadInput `request_invalid`."""
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise BadInput(Code.REQUEST_INVALID, f"{text[:20]!r}: expected a number")
    return int(text)


_ONE = "/v1/models/{model}/versions/{release}"
VERSION_ROUTES = (
    Route(
        "rollout", "POST", f"{_ONE}/withdraw", withdraw_version, "No rollout may bring it", views.VersionDetail,
        WithdrawRequest,
    ),
    Route("rollout", "POST", f"{_ONE}/reinstate", reinstate_version, "Take that back", views.VersionDetail),
)  # fmt: skip
