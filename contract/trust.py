"""Signed documents in TUF's shape: the model role (which versions exist) and the desired document (who runs which).

Decides how both are built, signed and read. Refuses to know where keys live, what time it is, and what was accepted
before. One development key signs for both roles for now; the fields are final.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from securesystemslib.signer import Key, Signer, SSlibKey
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, TargetFile, Targets
from tuf.api.serialization import DeserializationError
from tuf.api.serialization.json import JSONSerializer

from contract.blobs import sha256_hex
from contract.desired import DesiredTarget, EdgeFields
from contract.errors import BadInput, Code
from contract.manifest import Manifest
from contract.names import parse_target_path, target_path
from contract.protocol import MAX_MESSAGE_BYTES, MAX_MODELS_PER_DEVICE, PROTOCOL
from contract.wire import Message, decode_plain

_COMPACT = JSONSerializer(compact=True)


class TrustAnchor(Message, frozen=True):
    """What a device is given when it is set up: the public key that vouches for documents (securesystemslib's form)."""

    keyid: str
    key: dict[str, Any]

    def public_key(self) -> Key:
        """The key object; BadInput `config_invalid` if the fields do not describe one."""
        try:
            return SSlibKey.from_dict(self.keyid, dict(self.key))
        except (KeyError, ValueError, TypeError) as error:
            raise BadInput(Code.CONFIG_INVALID, f"trust key: {error}") from None


def anchor_of(signer: Signer) -> TrustAnchor:
    """The anchor that accepts what `signer` signs."""
    return TrustAnchor(keyid=signer.public_key.keyid, key=signer.public_key.to_dict())


@dataclass(frozen=True, slots=True)
class Wanted:
    """One entry of a desired document: the director's words about one model."""

    model: str
    release: int
    length: int
    sha256: str
    custom: DesiredTarget


@dataclass(frozen=True, slots=True)
class Desired:
    """A desired document whose signature has been verified."""

    device: str
    version: int
    digest: str
    """SHA-256 of the signed part: two documents with one version and different digests are an equivocation."""
    issued: str
    expires: datetime
    wanted: tuple[Wanted, ...]


def sign_model_role(
    model: str, manifests: Mapping[int, Manifest], *, version: int, expires: datetime, signer: Signer
) -> bytes:
    """The role document ``models-<model>``: every released version with its manifest, signed."""
    targets = {}
    for release, manifest in sorted(manifests.items()):
        path = target_path(model, release)
        fields = {"custom": msgspec.to_builtins(manifest)}
        targets[path] = TargetFile(manifest.artifact.length, {"sha256": manifest.artifact.sha256}, path, fields)
    return _signed(Targets(version=version, expires=expires, targets=targets), signer)


def sign_desired(
    device: str, wanted: tuple[Wanted, ...], *, version: int, issued: datetime, expires: datetime, signer: Signer
) -> bytes:
    """The desired document of `device`, signed."""
    targets = {}
    for want in wanted:
        path = target_path(want.model, want.release)
        fields = {"custom": msgspec.to_builtins(want.custom)}
        targets[path] = TargetFile(want.length, {"sha256": want.sha256}, path, fields)
    edge = EdgeFields(protocol=PROTOCOL, device=device, issued=issued.isoformat(timespec="seconds"))
    extra = {"x-edge": msgspec.to_builtins(edge)}
    return _signed(Targets(version=version, expires=expires, targets=targets, unrecognized_fields=extra), signer)


def read_model_role(raw: bytes, model: str, anchor: TrustAnchor) -> dict[int, Manifest]:
    """Verified manifests by release number. BadInput: `signature_invalid`, `message_malformed`, `path_invalid`."""
    signed, _ = _verified(raw, anchor)
    manifests = {}
    for path, target in signed.targets.items():
        named, release = parse_target_path(path)
        manifest = _convert(target.custom, Manifest)
        if named != model or manifest.release != release:
            raise BadInput(Code.PATH_INVALID, f"{path} in the role of {model}")
        if (target.length, target.hashes.get("sha256")) != (manifest.artifact.length, manifest.artifact.sha256):
            raise BadInput(Code.IMAGE_MISMATCH, f"{path}: target and manifest name different artifacts")
        manifests[release] = manifest
    return manifests


def read_desired(raw: bytes, anchor: TrustAnchor) -> Desired:
    """A verified desired document. BadInput: `signature_invalid`, `message_malformed`, `protocol_unknown`."""
    signed, signed_bytes = _verified(raw, anchor)
    edge = _convert(signed.unrecognized_fields.get("x-edge"), EdgeFields)
    if edge.protocol != PROTOCOL:
        raise BadInput(Code.PROTOCOL_UNKNOWN, f"document speaks protocol {edge.protocol}, this side {PROTOCOL}")
    if len(signed.targets) > MAX_MODELS_PER_DEVICE:
        raise BadInput(Code.MESSAGE_MALFORMED, f"{len(signed.targets)} models, limit {MAX_MODELS_PER_DEVICE}")
    wanted = tuple(_wanted(path, target) for path, target in sorted(signed.targets.items()))
    if len({want.model for want in wanted}) != len(wanted):
        raise BadInput(Code.MESSAGE_MALFORMED, "a model is named twice")
    return Desired(edge.device, signed.version, sha256_hex(signed_bytes), edge.issued, signed.expires, wanted)


def _wanted(path: str, target: TargetFile) -> Wanted:
    model, release = parse_target_path(path)
    custom = _convert(target.custom, DesiredTarget)
    if custom.slot != model:
        raise BadInput(Code.PATH_INVALID, f"{path} for slot {custom.slot[:40]}")
    return Wanted(model, release, target.length, target.hashes.get("sha256", ""), custom)


def _signed(targets: Targets, signer: Signer) -> bytes:
    metadata = Metadata(targets)
    metadata.sign(signer)
    return metadata.to_bytes(_COMPACT)


def _verified(raw: bytes, anchor: TrustAnchor) -> tuple[Targets, bytes]:
    if len(raw) > MAX_MESSAGE_BYTES:
        raise BadInput(Code.MESSAGE_TOO_LARGE, f"{len(raw)} bytes, limit {MAX_MESSAGE_BYTES}")
    decode_plain(raw)  # duplicate keys would let two readers see two documents under one signature
    try:
        metadata: Metadata[Targets] = Metadata.from_bytes(raw)
    except (DeserializationError, RepositoryError, RecursionError) as error:
        raise BadInput(Code.MESSAGE_MALFORMED, str(error)[:200]) from None
    if not isinstance(metadata.signed, Targets) or metadata.signed.delegations is not None:
        raise BadInput(Code.MESSAGE_MALFORMED, "not a targets document without delegations")
    signature = metadata.signatures.get(anchor.keyid)
    if signature is None:
        raise BadInput(Code.SIGNATURE_INVALID, f"not signed by key {anchor.keyid[:12]}")
    try:
        signed_bytes = metadata.signed_bytes
        anchor.public_key().verify_signature(signature, signed_bytes)
    except Exception as error:  # securesystemslib raises several kinds; to a device they are one refusal
        raise BadInput(Code.SIGNATURE_INVALID, f"{type(error).__name__}") from None
    return metadata.signed, signed_bytes


def _convert(plain: Any, kind: type[msgspec.Struct]) -> Any:
    try:
        return msgspec.convert(plain, kind)
    except msgspec.ValidationError as error:
        raise BadInput(Code.MESSAGE_MALFORMED, f"{kind.__name__}: {error}") from None
