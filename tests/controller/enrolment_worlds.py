"""Devices that enrol and renew, for tests of certificates."""

from datetime import UTC, datetime
from typing import Any

from cryptography import x509

from agent.trust.renewal import certificate_request
from contract.keys import signer_of
from contract.messages import Hardware
from contract.signatures import renewal
from controller.trust.certificates import new_key, pem
from controller.trust.enrolment import Enrolment
from controller.trust.keys import private_pem

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def request(key: Any = None) -> str:
    return certificate_request(key or new_key(), "whoever")


HARDWARE = Hardware(machine="m", cpus=1, memory_mb=1, python="3", onnxruntime="1", agent="0")


def enrolled(made: Enrolment, now: datetime, device: str = "cam-1") -> tuple[Any, x509.Certificate]:
    key = new_key()
    return signer_of(private_pem(key)), made.enrol(made.claim(device, now), request(key), now)


def renewed(made: Enrolment, sign: Any, old: x509.Certificate, now: datetime) -> tuple[Any, x509.Certificate]:
    key = new_key()
    asked = request(key)
    return signer_of(private_pem(key)), made.renew(pem(old), asked, sign(renewal(asked)), now)
