"""The routes of enrolment: a claim for an operator, a certificate for a device, and the revocation of certificates."""

from aiohttp import web

from contract.enrolment import Certificate, Claim, EnrolRequest, RenewRequest
from contract.wire import decode
from controller.api import operator_views as views
from controller.api.auth import actor_of
from controller.api.route import Route
from controller.api.state_key import STATE
from controller.verbs import devices

MAX_ENROL_BYTES = 32 * 1024


async def claim(request: web.Request) -> Claim:
    """Makes a single-use secret with which one device can enrol."""
    return devices.claim(request.app[STATE], request.match_info["device"], actor=actor_of(request))


async def enrol(request: web.Request) -> Certificate:
    """Exchanges a claim for a certificate."""
    asked = decode(await request.read(), EnrolRequest, max_bytes=MAX_ENROL_BYTES)
    return devices.enrol(request.app[STATE], asked)


async def renew(request: web.Request) -> Certificate:
    """Issues the next certificate to the device that holds the old certificate's key."""
    asked = decode(await request.read(), RenewRequest, max_bytes=MAX_ENROL_BYTES)
    return devices.renew(request.app[STATE], asked)


async def revoke(request: web.Request) -> views.Revoked:
    """Revokes a device's certificates and ends its session."""
    device = request.match_info["device"]
    count = await devices.revoke(request.app[STATE], device, actor=actor_of(request))
    return views.Revoked(device=device, certificates=count)


DEVICE_ROUTES = (
    Route("device", "POST", "/v1/devices/{device}/claim", claim, "Make a claim to enrol a device once", Claim, None),
    Route("device", "POST", "/v1/devices/{device}/revoke", revoke, "Revoke its certificates", views.Revoked, None),
    Route(
        "nothing", "POST", "/v1/enrol", enrol, "Exchange a claim for a certificate", Certificate, EnrolRequest,
        max_body_bytes=MAX_ENROL_BYTES, proof="claim",
    ),
    Route(
        "nothing", "POST", "/v1/renew", renew, "Issue the next certificate", Certificate, RenewRequest,
        max_body_bytes=MAX_ENROL_BYTES, proof="signature",
    ),
)  # fmt: skip
