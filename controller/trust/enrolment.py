"""How a device gets its certificate, keeps it and loses it: claim, enrol, renew, revoke.

Decides who may have one. A refusal tells the caller nothing, and the audit everything. Refuses to know HTTP.
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from contract.errors import BadInput, Code
from contract.keys import verifies
from contract.names import check_device_name
from contract.signatures import renewal
from controller.registry.credentials import Credential, Credentials
from controller.trust.certificates import CertificateAuthority, Public, read_request

CLAIM_LIFE_S = 3600.0
MAX_CERTIFICATE_BYTES = 8192


class ClaimRefused(BadInput):
    """A refusal; `words` say why and are for the audit alone, `detail` is for the caller."""

    def __init__(self, detail: str, words: str) -> None:
        super().__init__(Code.CLAIM_REFUSED, detail)
        self.words = words


@dataclass(frozen=True, slots=True)
class Enrolment:
    """Claims and certificates of one authority."""

    authority: CertificateAuthority
    credentials: Credentials

    def claim(self, device: str, now: datetime) -> str:
        """A secret with which the device may enrol once, within an hour; only its hash is kept."""
        check_device_name(device)
        token = f"edc_{secrets.token_urlsafe(32)}"
        self.credentials.add_claim(_hash(token), device, now.timestamp() + CLAIM_LIFE_S)
        return token

    def enrol(self, token: str, request: str, now: datetime) -> x509.Certificate:
        """A certificate for the claim's device; a request that is off does not use the claim up.

        BadInput `request_invalid`, `claim_refused`.
        """
        public = read_request(request)
        device = self.credentials.use_claim(_hash(token), now.timestamp())
        if device is None:
            words = self.credentials.claim_state(_hash(token), now.timestamp())
            raise ClaimRefused("ask the operator for a new claim", words)
        return self._issue(device, public, now)

    def renew(self, certificate: str, request: str, signature: str, now: datetime) -> x509.Certificate:
        """The next certificate, for a new key, of a device that signs its request with the old key.

        BadInput `request_invalid`, `claim_refused`.
        """
        public = read_request(request)
        known = self._known(certificate, now)
        if known is None or not verifies(known.public_key, signature, renewal(request)):
            words = "renewal: unknown, expired or revoked certificate, or a wrong signature"
            raise ClaimRefused("this certificate cannot be renewed: ask the operator for a claim", words)
        return self._issue(known.device, public, now)

    def revocations(self, now: datetime) -> bytes:
        """A new revocation list, checked. The canary is always on it."""
        serials = self.credentials.revoked(now.timestamp())
        raw = self.authority.revocations(serials, self.credentials.next_list(now.timestamp()), now)
        self.authority.check_revocations(raw, now)
        return raw

    def _known(self, certificate: str, now: datetime) -> Credential | None:
        try:
            if len(certificate) > MAX_CERTIFICATE_BYTES:
                return None
            serial = x509.load_pem_x509_certificate(certificate.encode()).serial_number
        except ValueError:
            return None
        known = self.credentials.certificate(serial)
        good = known is not None and known.revoked is None and known.expires > now.timestamp()
        return known if good else None

    def _issue(self, device: str, public: Public, now: datetime) -> x509.Certificate:
        certificate = self.authority.device(device, public, now)
        self.credentials.add_certificate(credential_of(certificate, device))
        return certificate


def credential_of(certificate: x509.Certificate, device: str) -> Credential:
    """What is remembered of a certificate."""
    public = certificate.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    expires = certificate.not_valid_after_utc.astimezone(UTC).timestamp()
    return Credential(certificate.serial_number, device, public.decode(), expires, None)


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
