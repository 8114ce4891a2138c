"""A device's signature on a message: made over DSSE's pre-authentication encoding, kept in a field of the message.

Decides what is signed: the message as it is encoded with an empty signature. The message stays readable JSON.
Source of the encoding: https://github.com/secure-systems-lab/dsse/blob/master/protocol.md. Refuses to know keys.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from contract.dsse import covered
from contract.wire import encode

PAYLOAD_TYPE = "application/vnd.edgeward.message+json"
MAC_PREFIX = "mac:"
"""The beginning of a message authentication code (contract/macs.py), which may replace a signature."""
Sign = Callable[[bytes], str]
M = TypeVar("M", bound=msgspec.Struct)


def sign_message(message: M, sign: Sign | None) -> M:
    """Returns the message with its signature; unchanged if `sign` is None, for a device without a key."""
    if sign is None:
        return message
    return msgspec.structs.replace(message, signature=sign(encoding(message)))


def signed_as_sent(raw: bytes, signature: str) -> bytes:
    """Returns the bytes that a signature covers, from a message as it was received.

    They include fields that only a newer version knows. ValueError unless the message holds the signature exactly once:
    otherwise the signed content would be ambiguous.
    """
    field = b'"signature":"%s"' % signature.encode()
    if raw.count(field) != 1:
        raise ValueError("the message must hold its signature exactly once, as it is encoded")
    return _pre_authentication(raw.replace(field, b'"signature":""'))


def renewal(request: str) -> bytes:
    """Returns the bytes that a device signs with its old key when it asks for a certificate for a new key.

    `request` is the certificate request (CSR) in PEM.
    """
    return b"DSSEv1 renewal " + request.encode()


def introduction(authorities: str, request: str) -> bytes:
    """Returns what an authority signs to introduce other authorities (PEM) to the device that sent this certificate
    request.
    """
    return b"DSSEv1 authorities %d %s %s" % (len(authorities), authorities.encode(), request.encode())


def encoding(message: Any) -> bytes:
    """Returns the bytes that a signature of this message covers."""
    return _pre_authentication(encode(message))


def _pre_authentication(body: bytes) -> bytes:
    kind = PAYLOAD_TYPE.encode()
    return covered(kind, body)
