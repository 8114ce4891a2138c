"""Checks a fleet's attestation offline: which devices answered which golden set, and which did not, with the reason.

Decides what counts as proven. Trusts only the file and the authority's certificate. Refuses to know HTTP.
"""

import hashlib
import itertools
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from contract.attestation import (
    MAX_AGE_S,
    MAX_PROBE_AGE_S,
    Attestation,
    AttestationPage,
    AttestedDevice,
    AttestedVersion,
    Statement,
    signed_bytes,
)
from contract.errors import BadInput, Code
from contract.keys import is_signed_by, verifies
from contract.messages import GoldenProbe, Heartbeat

MAX_FILE_BYTES = 2_000_000_000
"""An attestation of 100,000 devices is 200 MB."""
REASONS = (
    "unsigned", "forged", "other_device", "old", "not_probed", "old_probe", "other_golden_set", "failed",
    "other_version",
)  # fmt: skip
"""The reasons why a device is not counted: no key, another key, the heartbeat of another device, too old, no probe
since it started, an old probe, another golden set, answers beyond tolerance, another version."""


@dataclass
class Verified:
    """The facts that an attestation proves."""

    fingerprint: str
    """SHA-256 of the authority's certificate."""
    made_at: float
    """When the oldest page was made, in seconds since 1970."""
    proven: Counter[tuple[str, int, str, int]] = field(default_factory=Counter)
    """(model, release, digest of the golden set, rows in it) -> devices that answered it within tolerance."""
    not_proven: dict[tuple[str, str], str] = field(default_factory=dict)
    """(device, model) -> one of REASONS; with an empty model it covers everything that the device reports."""
    overdue: dict[str, str] = field(default_factory=dict)
    """Devices that say that no probe can run, and why, in their own words; some still have a recent one that counts."""


def read_attestation(path: Path) -> Attestation:
    """Reads the attestation from a file. BadInput `message_malformed`, `message_too_large`."""
    if path.stat().st_size > MAX_FILE_BYTES:
        raise BadInput(Code.MESSAGE_TOO_LARGE, f"{path}: more than {MAX_FILE_BYTES} bytes")
    try:
        return msgspec.json.decode(path.read_bytes(), type=Attestation)
    except msgspec.MsgspecError as error:
        raise BadInput(Code.MESSAGE_MALFORMED, f"{path}: no attestation: {error}") from None


def verify(attestation: Attestation, authority: bytes = b"") -> Verified:
    """Checks every signature. `authority` is the certificate (PEM) that is trusted; empty: the file's own.

    BadInput `signature_invalid` for a page that the authority has not signed, `metadata_mismatch` for missing pages.
    """
    if not attestation.pages:
        raise BadInput(Code.METADATA_MISMATCH, "there is no page in it: export it again")
    trusted = _certificate(authority or attestation.pages[0].authority.encode())
    public = trusted.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    statements = [_statement(page, public.decode()) for page in attestation.pages]
    _check_order(statements)
    found = Verified(trusted.fingerprint(hashes.SHA256()).hex(), min(each.made_at for each in statements))
    for statement in statements:
        for device in statement.devices:
            _judge(device, statement, found)
    return found


def _check_order(statements: list[Statement]) -> None:
    """BadInput `metadata_mismatch` unless each page begins where the one before it ends, and no device is repeated."""
    begins, ends = ["", *(each.next for each in statements)], ""
    if [each.after for each in statements] != begins[:-1] or begins[-1] != ends or "" in begins[1:-1]:
        raise BadInput(Code.METADATA_MISMATCH, "pages are missing or in another order: export it again")
    names = [device.device for each in statements for device in each.devices]
    if any(former >= later for former, later in itertools.pairwise(names)):
        raise BadInput(Code.METADATA_MISMATCH, "a device comes twice: export it again")


def _statement(page: AttestationPage, public: str) -> Statement:
    if not verifies(public, page.signature, signed_bytes(page.statement)):
        raise BadInput(Code.SIGNATURE_INVALID, "the authority has not signed this page: forged, or another fleet's")
    try:
        return msgspec.json.decode(page.statement, type=Statement)
    except msgspec.MsgspecError as error:
        raise BadInput(Code.MESSAGE_MALFORMED, f"a signed page cannot be read: {error}") from None


def _judge(device: AttestedDevice, statement: Statement, found: Verified) -> None:
    try:
        said = msgspec.json.decode(device.heartbeat, type=Heartbeat)
    except msgspec.MsgspecError:
        found.not_proven[device.device, ""] = "forged"
        return
    if reason := _why_not(device, said, statement.made_at):
        found.not_proven[device.device, ""] = reason
        return
    if words := said.faults.get(str(Code.GOLDEN_OVERDUE)):
        found.overdue[device.device] = words
    versions = {(each.model, each.release, each.digest): each for each in statement.versions}
    for model in said.models:
        if model.stable is None:
            continue
        version = versions.get((model.model, model.stable.release, model.stable.digest))
        if reason := _why_not_proven(model.golden, version, statement.made_at):
            found.not_proven[device.device, model.model] = reason
        elif version is not None:
            found.proven[version.model, version.release, version.golden, version.rows] += 1


def _why_not(device: AttestedDevice, said: Heartbeat, made_at: float) -> str:
    if said.device != device.device:
        return "other_device"
    if not said.signature or not device.public_keys:
        return "unsigned"
    if not is_signed_by(said, device.public_keys, device.heartbeat.encode()):
        return "forged"
    return "old" if abs(made_at - said.at) > MAX_AGE_S else ""


def _why_not_proven(probe: GoldenProbe | None, version: AttestedVersion | None, made_at: float) -> str:
    """Returns why the newest probe of a device's confirmed version does not count; empty if it does."""
    if version is None:
        return "other_version"
    if probe is None or probe.digest != version.digest:
        return "not_probed"
    if probe.golden != version.golden or probe.rows != version.rows:
        return "other_golden_set"
    if abs(made_at - probe.at) > MAX_PROBE_AGE_S:
        return "old_probe"
    return "" if probe.passed else "failed"


def _certificate(pem: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError:
        raise BadInput(Code.CERTIFICATE_INVALID, "the authority's certificate is no PEM") from None


def digest_of(attestation: Attestation) -> str:
    """Returns the digest of an attestation, by which two people can check that they have the same one."""
    return hashlib.sha256(msgspec.json.encode(attestation)).hexdigest()
