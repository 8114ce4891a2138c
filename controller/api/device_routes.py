"""The routes of enrolment: a claim from an operator, a certificate for a device, and the end of both."""

from aiohttp import web

from contract.enrolment import Certificate, Claim, EnrolRequest, RenewRequest
from contract.names import check_name
from contract.wire import decode
from controller.api import views
from controller.api.auth import actor_of
from controller.api.route import Route
from controller.api.service_key import SERVICE
from controller.service import stamp, today
from controller.trust.certificates import pem

MAX_ENROL_BYTES = 32 * 1024


async def claim(request: web.Request) -> Claim:
    """A single-use secret for one device."""
    service, device = request.app[SERVICE], request.match_info["device"]
    token = service.enrolment.claim(device, today())
    service.journal.audit(stamp(), actor_of(request), "device claim", device)
    return Claim(
        url=service.public_url,
        token=token,
        device=device,
        broker_url=service.broker.url if service.broker else "",
        ca=service.enrolment.authority.pem,
        root=service.authority.root(),
    )


async def enrol(request: web.Request) -> Certificate:
    """Trade a claim for a certificate."""
    service = request.app[SERVICE]
    asked = decode(await request.read(), EnrolRequest, max_bytes=MAX_ENROL_BYTES)
    certificate = service.enrolment.enrol(asked.token, asked.csr, today())
    return _granted(request, pem(certificate), certificate.subject.rfc4514_string().removeprefix("CN="))


async def renew(request: web.Request) -> Certificate:
    """The next certificate for whom the old one belongs to."""
    service = request.app[SERVICE]
    asked = decode(await request.read(), RenewRequest, max_bytes=MAX_ENROL_BYTES)
    certificate = service.enrolment.renew(asked.certificate, asked.csr, asked.signature, today())
    return _granted(request, pem(certificate), certificate.subject.rfc4514_string().removeprefix("CN="))


async def revoke(request: web.Request) -> views.Revoked:
    """Take a device's certificates away and end its session."""
    device = check_name(request.match_info["device"], "device")
    count = await request.app[SERVICE].revoke(device, actor_of(request))
    return views.Revoked(device=device, certificates=count)


def _granted(request: web.Request, certificate: str, device: str) -> Certificate:
    service = request.app[SERVICE]
    service.voices.forget(device)
    service.journal.audit(stamp(), device, "device enrolled", device)
    return Certificate(device=device, certificate=certificate, ca=service.enrolment.authority.pem)


DEVICE_ROUTES = (
    Route("device", "POST", "/v1/devices/{device}/claim", claim, "Let a device enrol, once", Claim, None),
    Route("device", "POST", "/v1/devices/{device}/revoke", revoke, "Take its certificates away", views.Revoked, None),
    Route(
        "nothing", "POST", "/v1/enrol", enrol, "Trade a claim for a certificate", Certificate, EnrolRequest,
        max_body_bytes=MAX_ENROL_BYTES, proof="claim",
    ),
    Route(
        "nothing", "POST", "/v1/renew", renew, "The next certificate", Certificate, RenewRequest,
        max_body_bytes=MAX_ENROL_BYTES, proof="signature",
    ),
)  # fmt: skip
