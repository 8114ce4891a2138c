"""The controller's half of the secrets that authenticate telemetry (contract/macs.py).

Decides which key that is: one permanent file, because a device that still uses another key loses an interval of
telemetry. Refuses to know devices.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from contract.macs import code_with
from contract.signatures import Sign
from controller.trust.keys import load_private_key, private_pem, write_secret


@dataclass(frozen=True, slots=True)
class Agreement:
    """The key that is sent to devices, and the codes that follow from a device's public key."""

    public: str
    """The controller's public key in PEM."""
    code: Callable[[str, str], Sign | None]
    """Returns codes for a device's public key (PEM) and its name; as `contract.macs.code_with`."""


def load_or_make_agreement(path: Path) -> Agreement:
    """Returns the key in `path`, made there if missing. BadInput `config_invalid` for an invalid file."""
    if not path.exists():
        write_secret(path, private_pem(ec.generate_private_key(ec.SECP256R1())))
    key = load_private_key(path)
    return Agreement(public_pem(key), lambda theirs, device: code_with(key, theirs, device))


def public_pem(key: PrivateKeyTypes) -> str:
    """The public half of a key, in PEM."""
    format_of = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, format_of).decode()
