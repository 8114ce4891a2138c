"""A device's signature on what it says: DSSE's pre-authentication encoding over the message's bytes, in its own field.

Decides what is signed: the message as it is encoded with an empty signature. It stays readable JSON on the wire.
Source of the encoding: https://github.com/secure-systems-lab/dsse/blob/master/protocol.md. Refuses to know keys.
"""

import base64
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from contract.wire import encode

PAYLOAD_TYPE = "application/vnd.edgeward.message+json"
Sign = Callable[[bytes], str]
M = TypeVar("M", bound=msgspec.Struct)


def sign_message(message: M, sign: Sign | None) -> M:
    """The message with its signature; as it is for a device without a key."""
    if sign is None:
        return message
    return msgspec.structs.replace(message, signature=sign(_encoding(message)))


def is_signed_by(message: Any, public_keys: Iterable[str]) -> bool:
    """Whether one of these keys (PEM) signed the message."""
    if not message.signature:
        return False
    signed = _encoding(msgspec.structs.replace(message, signature=""))
    return any(verifies(public, message.signature, signed) for public in public_keys)


def signer_of(pem: bytes) -> Sign:
    """Signs with a private key in PEM: P-256, P-384 or Ed25519. ValueError for anything else."""
    key = serialization.load_pem_private_key(pem, password=None)
    if isinstance(key, ed25519.Ed25519PrivateKey):
        edwards = key
        return lambda data: base64.b64encode(edwards.sign(data)).decode()
    if isinstance(key, ec.EllipticCurvePrivateKey):
        curve = key
        return lambda data: base64.b64encode(curve.sign(data, ec.ECDSA(hashes.SHA256()))).decode()
    raise ValueError("use a P-256, P-384 or Ed25519 key")


def verifies(public: str, signature: str, signed: bytes) -> bool:
    """Whether the owner of this public key (PEM) signed these bytes."""
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


def renewal(request: str) -> bytes:
    """What a device signs with its old key when it asks for a certificate for a new one."""
    return b"DSSEv1 renewal " + request.encode()


def _encoding(message: Any) -> bytes:
    body, kind = encode(message), PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(body), body)
