"""The director's statement about the origin of a version, which can be checked without this controller.

Decides what is stated: the facts in the registry, and one captured row on request. Refuses to know how it is
checked.
"""

import time

import msgspec

from contract.blobs import sha256_hex
from contract.captured import CapturedRow, answered_bytes
from contract.errors import BadInput, Code
from contract.keys import verifies
from contract.lineage import LineageStatement, SignedLineage, StatedPrediction, canonical, signed_bytes
from contract.wire import encode
from controller.registry.version import Version
from controller.state import State
from controller.verbs import trust


def lineage_statement(state: State, model: str, release: int, prediction: str = "") -> SignedLineage:
    """Signs what is known about a version. `prediction`: the id of a captured row, or the name of an answer.

    BadInput `unknown_version`, `signature_invalid` for a version that no release signer has signed, `request_invalid`
    for a prediction that does not exist or that another version made.
    """
    version = state.registry.version(model, release)
    if release not in state.trust_metadata.signed(model):
        waits = release in trust.unsigned(state, model)
        why = "it waits for a release signer" if waits else "it has not passed its gates"
        raise BadInput(Code.SIGNATURE_INVALID, f"no release signer vouches for {model} v{release}: {why}")
    text = encode(_stated(state, version, prediction)).decode()
    signed = state.trust_metadata.director.sign(signed_bytes(text))
    return SignedLineage(statement=text, keyid=signed.keyid, signature=signed.signature)


def _stated(state: State, version: Version, prediction: str) -> LineageStatement:
    plain = msgspec.to_builtins(version)
    return LineageStatement(
        made_at=time.time(),
        model=version.model,
        release=version.release,
        manifest_sha256=_sha256(plain["manifest"]),
        lineage=plain["lineage"],
        gates_sha256=_sha256(plain["gates"]),
        evidence_sha256=_sha256(plain["evidence"]),
        prediction=_prediction(state, version, prediction) if prediction else None,
    )


def _prediction(state: State, version: Version, named: str) -> StatedPrediction:
    found = state.captures.find(version.model, named)
    if found is None:
        words = (
            f"no captured row of {version.model} is {named[:64]!r}: edgeward model captured names those that are kept"
        )
        raise BadInput(Code.REQUEST_INVALID, words)
    number, device, row = found
    if row.release != version.release:
        words = f"v{row.release} made {named[:64]!r}, not v{version.release}"
        raise BadInput(Code.REQUEST_INVALID, words)
    return StatedPrediction(id=number, device=device, row=row, device_key=_key_of(state, device, row))


def _key_of(state: State, device: str, row: CapturedRow) -> str:
    """The key of the device that has signed the answer, of those that it has ever had; empty if none has."""
    if not row.signature:
        return ""
    keys = dict.fromkeys(each.public_key for each in state.credentials.certificates(device))
    return next((key for key in keys if verifies(key, row.signature, answered_bytes(row))), "")


def _sha256(plain: object) -> str:
    return sha256_hex(canonical(plain))
