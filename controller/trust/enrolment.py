"""How a device gets, keeps and loses its certificate: claim, enrol, renew, revoke.

Decides which device may have one. A refusal gives the caller no reason; the reason is in the audit. Refuses to know
HTTP.
"""

import hashlib
import secrets
from collections.abc import Container
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from contract.errors import BadInput, Code
from contract.keys import verifies
from contract.names import check_device_name, is_device_name
from contract.signatures import renewal
from controller.registry.credentials import Credential, Credentials
from controller.trust.authorities import FIRST, Authorities
from controller.trust.certificates import BACKDATE, CertificateAuthority, Public, read_request

CLAIM_LIFE_S = 3600.0
RENEWAL_GRACE_DAYS = 180.0
"""Days after a certificate's end in which its key may still renew it: a device that was stored for a season can
return. Its key still proves which device it is."""
DAY_S = 86_400.0
MAX_CERTIFICATE_BYTES = 8192


MAX_GOOD = 24
"""The most valid certificates of one device: one every two months, and some whose answer was lost. Each is a key that
is tried for its messages, a row, and a permanent entry of the audit, so no key may request an unlimited number."""


class ClaimRefused(BadInput):
    """A refusal; `words` give the reason and are for the audit alone, `detail` is for the caller."""

    def __init__(self, detail: str, words: str, known: Credential | None = None) -> None:
        super().__init__(Code.CLAIM_REFUSED, detail)
        self.words = words
        self.device = known.device if known is not None else ""
        """The device that has proved its identity; empty if none has."""
        self.expires = known.expires if known is not None else 0.0


@dataclass(frozen=True, slots=True)
class Enrolment:
    """Claims and certificates of one controller."""

    authorities: Authorities
    credentials: Credentials

    @property
    def authority(self) -> CertificateAuthority:
        """The authority that issues certificates for devices and services."""
        return self.authorities.issuing

    def claim(self, device: str, now: datetime) -> str:
        """Returns a secret with which the device may enrol once, within an hour; only its hash is stored."""
        check_device_name(device)
        token = f"edc_{secrets.token_urlsafe(32)}"
        self.credentials.add_claim(_hash(token), device, now.timestamp() + CLAIM_LIFE_S)
        return token

    def in_use(self, device: str, now: datetime) -> bool:
        """Returns whether a device has a valid certificate with this name, or one that it may still renew."""
        return self.credentials.held(device, now.timestamp() - RENEWAL_GRACE_DAYS * DAY_S)

    def enrol(self, token: str, request: str, now: datetime) -> x509.Certificate:
        """Returns a certificate for the claim's device; an invalid request does not use up the claim.

        BadInput `request_invalid`, `claim_refused`.
        """
        public = read_request(request)
        device = self.credentials.use_claim(_hash(token), now.timestamp())
        if device is None:
            words = self.credentials.claim_state(_hash(token), now.timestamp())
            raise ClaimRefused("ask the operator for a new claim", words)
        return self._issue(device, public, now)

    def knows(self, certificate: str) -> bool:
        """Returns whether a certificate (PEM) is one that this controller has on record."""
        return self._known(certificate) is not None

    def renew(
        self, certificate: str, request: str, signature: str, now: datetime, *, gone: Container[str] = ()
    ) -> x509.Certificate:
        """Returns the next certificate, for a new key, of a device that signs its request with the old key.

        A certificate that this controller has issued but not on record, because it was restored from a backup, also
        counts, unless its device has been revoked since or is `gone`.

        BadInput `request_invalid`, `claim_refused`.
        """
        public = read_request(request)
        known = self._known(certificate) or self._left_behind(certificate, now, gone)
        detail = "this certificate cannot be renewed: ask the operator for a claim"
        if known is None or not self._signed(known, request, signature):
            words = f"not signed with the key of {known.device}" if known else "unknown certificate"
            raise ClaimRefused(detail, f"renewal: {words}")
        if words := self._why_not(known, now):
            raise ClaimRefused(detail, f"renewal: {words}", known)
        if len(self.credentials.public_keys(known.device, now.timestamp())) >= MAX_GOOD:
            words = f"{known.device} has {MAX_GOOD} good certificates"
            raise ClaimRefused(f"{words}: if its key was stolen, revoke it", f"renewal: {words}", known)
        if self.credentials.certificate(known.serial) is None:
            self.credentials.add_certificate(known)
        return self._issue(known.device, public, now, parent=known.serial)

    def register(self, certificate: x509.Certificate, subject: str, now: datetime) -> None:
        """Records a certificate that was issued for a service."""
        self.credentials.add_certificate(self._credential(certificate, subject, now))

    def revocations(self, now: datetime) -> bytes:
        """Returns a new revocation list of each authority, checked. The canary is always on one."""
        number = self.credentials.next_list(now.timestamp())
        return b"".join(self._list(name, each, number, now) for name, each in self.authorities.trusted.items())

    def _list(self, name: str, authority: CertificateAuthority, number: int, now: datetime) -> bytes:
        raw = authority.revocations(self.credentials.revoked(now.timestamp(), name), number, now)
        authority.check_revocations(raw, now)
        return raw

    def _known(self, certificate: str) -> Credential | None:
        try:
            if len(certificate) > MAX_CERTIFICATE_BYTES:
                return None
            serial = x509.load_pem_x509_certificate(certificate.encode()).serial_number
        except ValueError:
            return None
        return self.credentials.certificate(serial)

    def _left_behind(self, text: str, now: datetime, gone: Container[str]) -> Credential | None:
        """Returns the content of an unrecorded certificate that an authority of this controller has issued.

        It was issued after the backup from which this controller was restored. This does not help a device whose keys
        were revoked since then.
        """
        try:
            certificate = x509.load_pem_x509_certificate(text[:MAX_CERTIFICATE_BYTES].encode())
        except ValueError:
            return None
        issuers = {name: each.issued_device(certificate) for name, each in self.authorities.trusted.items()}
        authority, device = next(((name, device) for name, device in issuers.items() if device), ("", ""))
        issued, ends = certificate.not_valid_before_utc + BACKDATE, certificate.not_valid_after_utc
        revoked = [each.revoked for each in self.credentials.certificates(device) if each.revoked is not None]
        ended = max(revoked, default=0.0) >= issued.timestamp() or device in gone or not issued <= now <= ends
        if not is_device_name(device) or ended:
            return None
        return credential_of(certificate, device, authority=authority, issued=issued.timestamp())

    def _signed(self, known: Credential, request: str, signature: str) -> bool:
        return verifies(known.public_key, signature, renewal(request))

    def _why_not(self, known: Credential, now: datetime) -> str:
        """Returns why a certificate cannot be renewed, for the audit; empty if it can."""
        late_s = now.timestamp() - known.expires
        if known.revoked is not None:
            return f"certificate of {known.device}: revoked"
        if late_s > RENEWAL_GRACE_DAYS * DAY_S:
            return (
                f"certificate of {known.device}: expired {late_s / DAY_S:.0f} days ago, grace {RENEWAL_GRACE_DAYS:.0f}"
            )
        if late_s > 0 and self.credentials.superseded(known.serial):
            return f"certificate of {known.device}: expired, and its device has gone on to a newer key"
        return ""

    def _issue(self, device: str, public: Public, now: datetime, parent: int | None = None) -> x509.Certificate:
        certificate = self.authority.device(device, public, now)
        self.credentials.add_certificate(self._credential(certificate, device, now, parent))
        return certificate

    def _credential(
        self, certificate: x509.Certificate, subject: str, now: datetime, parent: int | None = None
    ) -> Credential:
        return credential_of(
            certificate, subject, authority=self.authorities.issuing_name, issued=now.timestamp(), parent=parent
        )


def credential_of(
    certificate: x509.Certificate,
    device: str,
    *,
    authority: str = FIRST,
    issued: float = 0.0,
    parent: int | None = None,
) -> Credential:
    """Returns the record of a certificate."""
    public = certificate.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    expires = certificate.not_valid_after_utc.astimezone(UTC).timestamp()
    return Credential(certificate.serial_number, device, public.decode(), expires, None, authority, issued, parent)


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
