"""The controller's signed statement about one version: its origin, how it was judged, and one prediction.

Decides what is stated and which bytes the director's key signs: a DSSE envelope's, so that no other document can be
mistaken for one. The root of trust names the director. Refuses to know keys and files.
"""

import json

import msgspec

from contract.captured import CapturedRow
from contract.dsse import covered
from contract.errors import BadInput, Code
from contract.wire import Said, decode_plain

MAX_STATEMENT_BYTES = 4 << 20
"""The most bytes. Evidence and parameters of a version take 100 kB; those of a pushed model at its limits 2 MB."""
_KIND = b"application/vnd.edgeward.lineage+json"


class StatedPrediction(Said, frozen=True):
    """One answer that a device gave, as it sent the row, with the device's own signature over the answer."""

    id: int
    """The id of the captured row on the controller."""
    device: str
    row: CapturedRow
    device_key: str = ""
    """The public key (PEM) of the device that made the row's signature, which the director confirms. Empty: no key
    that the controller knows has made it."""


class LineageStatement(Said, frozen=True):
    """What the director states about a version."""

    made_at: float
    """Seconds since 1970."""
    model: str
    release: int
    manifest_sha256: str
    """SHA-256 of the manifest as compact JSON with sorted keys: the manifest that the release signer has signed."""
    lineage: dict[str, object]
    """Run, data, code, parent and other facts of the push, as in `GET /v1/models/{model}/versions/{release}`."""
    gates_sha256: str
    evidence_sha256: str
    """SHA-256 of the gates' verdicts and the evidence, as compact JSON with sorted keys."""
    prediction: StatedPrediction | None = None


class SignedLineage(Said, frozen=True):
    """A statement as the bytes that were signed, and the key that signed them."""

    statement: str
    """JSON of a `LineageStatement`."""
    keyid: str
    """The id of a director's key, as the top-level targets of the fleet's metadata name it."""
    signature: str
    """The signature in hexadecimal digits, as in TUF."""


def signed_bytes(statement: str) -> bytes:
    """The bytes that the signature covers."""
    return covered(_KIND, statement.encode())


def canonical(plain: object) -> bytes:
    """Returns compact JSON with sorted keys, by which parts of a version are digested on both sides."""
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def read_statement(signed: SignedLineage) -> LineageStatement:
    """Returns the statement in an envelope, unverified. BadInput `message_malformed`, `message_too_large`."""
    plain = decode_plain(signed.statement.encode(), max_bytes=MAX_STATEMENT_BYTES)
    try:
        return msgspec.convert(plain, LineageStatement)
    except msgspec.ValidationError as error:
        raise BadInput(Code.MESSAGE_MALFORMED, f"no statement about a version: {error}"[:300]) from None
