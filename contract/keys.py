"""Keys in PEM that sign messages and check signatures, over the bytes that `contract/signatures.py` defines.

Decides which kinds of keys are accepted. Refuses to know whose keys they are. It is separate from `signatures.py`: a
device that starts encodes messages before it needs cryptography, which takes 30 ms to import.
"""

import base64
from collections.abc import Iterable
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from contract.signatures import Sign, signed_as_sent
from contract.wire import encode


def is_signed_by(message: Any, public_keys: Iterable[str], raw: bytes = b"") -> bool:
    """Tells whether one of these public keys (PEM) signed the message.

    `raw` is the message as it was received; without it the message is encoded again. ValueError for a key that is no
    PEM.
    """
    if not message.signature:
        return False
    try:
        signed = signed_as_sent(raw or encode(message), message.signature)
    except ValueError:
        return False
    return any(verifies(public, message.signature, signed) for public in public_keys)


def private_key_of(pem: bytes) -> PrivateKeyTypes:
    """Reads a private key from PEM that is not encrypted. ValueError or TypeError for anything else."""
    return serialization.load_pem_private_key(pem, password=None)


def signer_of(pem: bytes) -> Sign:
    """Returns a function that signs with a private key in PEM: P-256, P-384 or Ed25519. ValueError for other keys."""
    key = private_key_of(pem)
    if isinstance(key, ed25519.Ed25519PrivateKey):
        edwards = key
        return lambda data: base64.b64encode(edwards.sign(data)).decode()
    if isinstance(key, ec.EllipticCurvePrivateKey):
        curve = key
        return lambda data: base64.b64encode(curve.sign(data, ec.ECDSA(hashes.SHA256()))).decode()
    raise ValueError("use a P-256, P-384 or Ed25519 key")


def verifies(public: str, signature: str, signed: bytes) -> bool:
    """Tells whether the owner of this public key (PEM) made this signature (base64) over these bytes.

    ValueError for a key that is no PEM.
    """
    key = serialization.load_pem_public_key(public.encode())
    try:
        raw = base64.b64decode(signature, validate=True)
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(raw, signed)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(raw, signed, ec.ECDSA(hashes.SHA256()))
        else:
            return False
    except (InvalidSignature, ValueError):
        return False
    return True
