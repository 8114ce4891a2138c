"""The routes of certificates: those that were issued, revocation, and the authorities."""

import time
from datetime import UTC, datetime

from aiohttp import web

from contract.attestation import AttestationPage
from contract.errors import BadInput, Code
from contract.wire import Message, decode
from controller.api import operator_views as views
from controller.api.auth import actor_of
from controller.api.route import Route
from controller.api.state_key import STATE
from controller.api.version_routes import number_of
from controller.fleet.expiry import DAY_S
from controller.registry.credentials import Credential
from controller.state import State
from controller.verbs import certificates
from controller.verbs.attest import attestation_page


class Retirement(Message, frozen=True):
    """The end of an authority; `force`: even if devices have no certificate of another."""

    force: bool = False


async def list_certificates(request: web.Request) -> list[views.CertificateView]:
    """Returns the certificates of `subject`, newest first: a device, a service, `svc.` for all services, empty for
    the newest of all.

    With `within_days` only those that expire so soon, of devices and services with no newer one, earliest end first.
    """
    credentials = request.app[STATE].credentials
    if (days := request.query.get("within_days")) is not None:
        return [_shown(each) for each in credentials.expiring(time.time() + number_of(days) * DAY_S)]
    return [_shown(each) for each in credentials.certificates(request.query.get("subject", ""))]


async def revoke_certificate(request: web.Request) -> views.CertificateView:
    """Revokes one certificate."""
    serial = _serial(request.match_info["serial"])
    return _shown(await certificates.revoke(request.app[STATE], serial, actor=actor_of(request)))


async def list_authorities(request: web.Request) -> list[views.AuthorityView]:
    """Returns every authority, oldest first."""
    return _authorities(request.app[STATE])


async def add_authority(request: web.Request) -> list[views.AuthorityView]:
    """Makes one more authority."""
    certificates.add_authority(request.app[STATE], actor=actor_of(request))
    return _authorities(request.app[STATE])


async def retire_authority(request: web.Request) -> list[views.AuthorityView]:
    """Ends trust in an authority."""
    asked = decode(await request.read(), Retirement)
    name = request.match_info["name"]
    certificates.retire_authority(request.app[STATE], name, force=asked.force, actor=actor_of(request))
    return _authorities(request.app[STATE])


async def show_attestation(request: web.Request) -> AttestationPage:
    """Returns a page of the fleet's statement about golden sets: the devices whose names follow `after`."""
    return attestation_page(request.app[STATE], request.query.get("after", ""))


CERTIFICATE_ROUTES = (
    Route("view", "GET", "/v1/certificates", list_certificates, "What was issued", list[views.CertificateView]),
    Route(
        "admin", "POST", "/v1/certificates/{serial}/revoke", revoke_certificate, "Revoke one certificate",
        views.CertificateView,
    ),
    Route(
        "view", "GET", "/v1/attestation", show_attestation, "Signed statements about golden sets", AttestationPage,
    ),
    Route("view", "GET", "/v1/authorities", list_authorities, "The authorities of devices", list[views.AuthorityView]),
    Route("admin", "POST", "/v1/authorities", add_authority, "One more authority", list[views.AuthorityView]),
    Route(
        "admin", "POST", "/v1/authorities/{name}/retire", retire_authority, "End trust in an authority",
        list[views.AuthorityView], Retirement,
    ),
)  # fmt: skip


def _authorities(state: State) -> list[views.AuthorityView]:
    known = state.enrolment.authorities
    return [
        views.AuthorityView(
            name=name,
            issues=name == known.issuing_name,
            trusted=name in known.trusted,
            expires_at=each.certificate.not_valid_after_utc.isoformat(),
            devices=len(certificates.relying_on(state, name)),
        )
        for name, each in (*known.retired.items(), *known.trusted.items())
    ]


def _shown(known: Credential) -> views.CertificateView:
    return views.CertificateView(
        serial=f"{known.serial:x}",
        subject=known.device,
        authority=known.authority,
        expires_at=datetime.fromtimestamp(int(known.expires), UTC).isoformat(),
        revoked=known.revoked is not None,
    )


def _serial(text: str) -> int:
    try:
        return int(text, 16)
    except ValueError:
        raise BadInput(Code.UNKNOWN_CERTIFICATE, f"{text[:50]!r} is no serial number in hexadecimal") from None
