"""Renewal of this device's certificate: when it is due, and its steps. Power may fail after each step.

Decides the order: a new key and its certificate are durable before they are used, and the old pair stays in use
until the broker has accepted the new one. Decides how often it is tried. Refuses to know sockets, threads and
clocks.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agent.trust.keypair import KeyPair, KeyPairs, whole_pair
from contract.enrolment import Certificate, RenewRequest
from contract.errors import BadInput, Code, EdgewardError
from contract.keys import signer_of, verifies
from contract.names import unit_number
from contract.signatures import introduction, renewal

RENEW_AT, SPREAD = 2 / 3, 0.02
"""Fractions of a certificate's life: renewal begins within SPREAD before RENEW_AT, so that devices that were enrolled
in one hour renew over two days."""
RETRY_MIN_S, RETRY_MAX_S = 60.0, 3600.0
"""Seconds between attempts, doubled each time: a controller that is off for a day gets thirty requests."""
RETRY_FRACTION = 1 / 100
"""A fraction of a certificate's life: certificates that live for minutes are requested again within seconds."""
MAX_REFUSED = 8
"""Attempts with a new pair that the broker refuses. Then another pair is requested, because this one may have been
revoked."""

Ask = Callable[[RenewRequest], Certificate]
"""Asks the controller for a certificate. WorldError `controller_unreachable`, BadInput `claim_refused`."""
Accepted = Callable[[KeyPair], str]
"""Returns why the broker refuses a pair; empty if it accepts the pair. WorldError `broker_unreachable`."""

_log = logging.getLogger("edgeward.agent")


def due_at(pair: KeyPair, device: str) -> datetime:
    """When the certificate of `device` is to be renewed."""
    return pair.begins + (pair.ends - pair.begins) * (RENEW_AT - SPREAD * unit_number(device))


class Renewal:
    """Renews the certificate of one device. `now` is monotonic seconds, `today` the date in UTC."""

    def __init__(self, device: str, pairs: KeyPairs, *, authorities: str, ask: Ask, accepted: Accepted) -> None:
        self._device = device
        self._pairs = pairs
        self._first_authorities = authorities
        self._ask = ask
        self._accepted = accepted
        self.retry_at = 0.0
        """`is_due` is false before this time, on the clock of `now`."""
        self._retry_s = 0.0
        self._refused = 0
        self.fault: EdgewardError | None = None
        """Why the newest attempt failed; None if it succeeded."""

    @property
    def authorities(self) -> str:
        """The authorities that this device trusts (PEM); empty: the system's."""
        return (self._pairs.authorities() if self._first_authorities else "") or self._first_authorities

    def is_due(self, now: float, today: datetime) -> bool:
        """Whether `attempt` is to be called now."""
        if now < self.retry_at:
            return False
        return self._pairs.next() is not None or today >= due_at(self._pairs.current(), self._device)

    def attempt(self, now: float) -> bool:
        """Performs the possible steps. Returns whether a new pair is in use. `fault` says what prevented a step.
        Never raises.
        """
        try:
            self._go()
        except EdgewardError as error:
            self._failed(error, now)
            return False
        life_s = self._life_s()
        self.fault, self._refused, self._retry_s = None, 0, 0.0
        self.retry_at = now + min(RETRY_MAX_S, life_s * RETRY_FRACTION)  # a clock in the future must not loop
        return True

    def _go(self) -> None:
        if self._pairs.next() is None:
            self._pairs.keep_next(self._new_pair())
        pair = self._pairs.next()
        assert pair is not None, "what was made durable is there"
        if words := self._accepted(pair):
            self._refused += 1
            if self._refused >= MAX_REFUSED:
                self._refused = 0
                self._pairs.discard_next()
            raise BadInput(Code.CERTIFICATE_INVALID, f"the broker refuses the renewed certificate: {words}")
        self._pairs.accept_next()

    def _failed(self, error: EdgewardError, now: float) -> None:
        if str(error) != str(self.fault):
            _log.error("the certificate is not renewed, trying again: %s", error)
        self.fault = error
        most_s = min(RETRY_MAX_S, self._life_s() * RETRY_FRACTION * 10)
        first_s = min(RETRY_MIN_S, self._life_s() * RETRY_FRACTION)
        self._retry_s = min(2 * self._retry_s, most_s) if self._retry_s else first_s
        self.retry_at = now + self._retry_s

    def _life_s(self) -> float:
        pair = self._pairs.current()
        return (pair.ends - pair.begins) / timedelta(seconds=1)

    def _new_pair(self) -> KeyPair:
        old, key = self._pairs.current(), ec.generate_private_key(ec.SECP256R1())
        request = certificate_request(key, self._device)
        signature = signer_of(old.key)(renewal(request))
        answer = self._ask(RenewRequest(certificate=old.certificate, csr=request, signature=signature))
        pair = whole_pair(private_key_pem(key), answer.certificate.encode())
        known = self.authorities
        if known:
            relied_on = answer.ca if is_introduced(answer, request, known) else known
            check_issued(pair, self._device, relied_on)
            if relied_on != known:
                self._pairs.keep_authorities(relied_on)
        return pair


def is_introduced(answer: Certificate, request: str, known: str) -> bool:
    """Whether an authority among `known` (PEM) has signed the authorities of an answer to this request."""
    signed = introduction(answer.ca, request)
    publics = [_public_pem(each) for each in x509.load_pem_x509_certificates(known.encode())]
    return any(verifies(public, signature, signed) for public in publics for signature in answer.introductions)


def check_issued(pair: KeyPair, device: str, authorities: str) -> None:
    """BadInput `certificate_invalid` unless the certificate names the device and one of the authorities issued it."""
    certificate = x509.load_pem_x509_certificate(pair.certificate.encode())
    names = [each.value for each in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if names != [device]:
        raise BadInput(Code.CERTIFICATE_INVALID, f"the new certificate is for {str(names)[:80]}, not for {device}")
    for authority in x509.load_pem_x509_certificates(authorities.encode()):
        try:
            certificate.verify_directly_issued_by(authority)
        except (ValueError, TypeError, InvalidSignature):
            continue
        return
    raise BadInput(Code.CERTIFICATE_INVALID, "the new certificate is from an authority that this device does not know")


def private_key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A private key in PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def certificate_request(key: ec.EllipticCurvePrivateKey, device: str) -> str:
    """A request (PEM) for a certificate for this key."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, device)])
    made = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode()


def _public_pem(certificate: x509.Certificate) -> str:
    spki = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    return certificate.public_key().public_bytes(*spki).decode()
