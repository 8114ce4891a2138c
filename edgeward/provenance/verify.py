"""Checks a version's chain edge by edge: from a prediction to the data digest, with only the root of trust.

Decides which edges exist and what breaks each. Every edge is checked, if possible also after a broken one, so that
the first fault does not hide the others. Trusts only the given root. Refuses to know HTTP.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
from tuf.api.metadata import Targets

from contract.blobs import sha256_hex
from contract.captured import answered_bytes
from contract.errors import BadInput, Code
from contract.keys import verifies
from contract.lineage import LineageStatement, canonical, read_statement, signed_bytes
from contract.manifest import Manifest
from contract.trust import chain, repository
from contract.trust.documents import DIRECTOR, role_name
from contract.trust.verified import Trusted
from contract.wire import encode
from edgeward.provenance.folder import Provenance

Verdict = Literal["holds", "broken", "not stated"]
TOLD = ("run", "data", "code", "parent")
"""Parts of the lineage that are separate edges; every other field is one edge, `lineage`."""


@dataclass(frozen=True, slots=True)
class Edge:
    """One step of the chain: its two ends, and whether it is valid."""

    name: str
    words: str
    """The content of the edge, or why it is broken."""
    verdict: Verdict


def verify(folder: Provenance, root: str) -> list[Edge]:
    """Returns every edge, from the root of trust to the evidence. `root` is the text of a trusted root document.

    BadInput `config_invalid` if the root itself is invalid.
    """
    start = chain.trust_root(root)
    stated = _attempt(lambda: read_statement(folder.signed))
    at = datetime.fromtimestamp(stated.made_at, UTC) if isinstance(stated, LineageStatement) else datetime.now(UTC)
    trusted = _attempt(lambda: _followed(start, folder, at))
    edges = [_edge("root -> metadata", f"followed as a device does, as of {at:%Y-%m-%d}", trusted)]
    if not isinstance(trusted, Trusted):
        return [*edges, *_behind(folder, stated, trusted)]
    return [*edges, *_signed_edges(folder, trusted, stated, at)]


def _behind(folder: Provenance, stated: Any, reason: BadInput) -> list[Edge]:
    """Returns the edges that cannot be trusted because the metadata do not follow from the root."""
    words = f"not reached: the metadata do not follow from this root ({reason.code})"
    names = ("metadata -> role", "role -> manifest", "director -> statement")
    return [Edge(name, words, "broken") for name in names]


def _signed_edges(folder: Provenance, trusted: Trusted, stated: Any, at: datetime) -> list[Edge]:
    model = str(folder.described.get("model", ""))
    role = _attempt(lambda: _role(trusted, folder, model, at))
    edges = [_edge("metadata -> role", f"{model} has a release signer", role)]
    manifest = _attempt(lambda: _manifest(role, folder))
    edges.append(_edge("role -> manifest", "signed as this release", manifest))
    if isinstance(manifest, Manifest):
        edges += [
            _same("manifest -> artifact", manifest.artifact.sha256, sha256_hex(folder.model), "model.onnx"),
            _same("manifest -> golden set", manifest.golden.blob.sha256, sha256_hex(folder.golden), "golden.npz"),
        ]
    signed = _attempt(lambda: _director(folder, trusted))
    edges.append(_edge("director -> statement", "signed by the fleet's director", signed))
    if isinstance(stated, LineageStatement):
        edges += _stated_edges(folder, stated)
    else:
        edges.append(_edge("statement", "", stated))
    return edges


def _stated_edges(folder: Provenance, stated: LineageStatement) -> list[Edge]:
    """Compares the statement with the facts that the folder shows to people."""
    told = folder.described
    named = f"{stated.model} v{stated.release}"
    edges = [
        _same("statement -> version", named, f"{told.get('model')} v{told.get('release')}", "the version"),
        _same("statement -> manifest", stated.manifest_sha256, _sha256(told.get("manifest")), "the manifest"),
        _device(stated),
        _prediction(stated),
    ]
    shown = told.get("lineage")
    lineage: dict[str, Any] = shown if isinstance(shown, dict) else {}
    edges += [_told(name, stated.lineage.get(name), lineage.get(name)) for name in TOLD]
    rest, others = ({k: v for k, v in each.items() if k not in TOLD} for each in (stated.lineage, lineage))
    edges.append(_same("version -> lineage", _sha256(rest), _sha256(others), "parameters, libraries, who pushed it"))
    edges.append(_summary(told, lineage))
    edges.append(
        _same("version -> gates", stated.gates_sha256, _sha256(told.get("gates")), "the verdicts of the gates")
    )
    edges.append(_same("version -> evidence", stated.evidence_sha256, _sha256(told.get("evidence")), "the evidence"))
    return edges


def _summary(told: dict[str, Any], lineage: dict[str, Any]) -> Edge:
    """Checks the unsigned summary at the top of the file. Notes, tags and aliases may change after the push and
    are no proof.
    """
    manifest = told.get("manifest")
    artifact = manifest.get("artifact", {}) if isinstance(manifest, dict) else {}
    signed = {name: lineage.get(name) for name in ("metrics", "licence", "created_by", "created_at")}
    signed |= {"digest": artifact.get("sha256"), "size_bytes": artifact.get("length")}
    wrong = [name for name, value in signed.items() if canonical(value) != canonical(told.get(name))]
    words = f"{', '.join(wrong)} at the top of edgeward.json is not what is signed" if wrong else "the same as signed"
    return Edge("version -> summary", words, "broken" if wrong else "holds")


def _prediction(stated: LineageStatement) -> Edge:
    name, found = "prediction -> version", stated.prediction
    if found is None:
        return Edge(name, "no prediction was asked for: lineage export --prediction ID", "not stated")
    if (found.row.model, found.row.release) != (stated.model, stated.release):
        return Edge(name, f"{found.row.model} v{found.row.release} made it", "broken")
    return Edge(name, f"row {found.id} of {found.device}, answered {found.row.value!r}", "holds")


def _device(stated: LineageStatement) -> Edge:
    """Whether the device itself has signed the answer, with the key that the director confirms."""
    name, found = "device -> prediction", stated.prediction
    if found is None:
        return Edge(name, "no prediction was asked for: lineage export --prediction ID", "not stated")
    if not found.row.signature:
        return Edge(name, f"{found.device} had no key when it answered: only the director states it", "not stated")
    if not found.device_key:
        return Edge(name, f"no key of {found.device} that the controller knows has signed it", "broken")
    try:
        holds = verifies(found.device_key, found.row.signature, answered_bytes(found.row))
    except ValueError:
        return Edge(name, f"what should be the key of {found.device} is none", "broken")
    if not holds:
        return Edge(name, f"{found.device} has not signed this answer", "broken")
    key = sha256_hex(found.device_key.encode())[:16]
    return Edge(name, f"signed by {found.device}, whose key is {key}", "holds")


def _told(name: str, stated: object, shown: object) -> Edge:
    if canonical(stated) != canonical(shown):
        return Edge(f"version -> {name}", f"the folder says {_short(shown)}, signed is {_short(stated)}", "broken")
    verdict: Verdict = "holds" if stated not in (None, "", {}, []) else "not stated"
    return Edge(
        f"version -> {name}", _short(stated) if verdict == "holds" else "the statement does not name it", verdict
    )


def _followed(start: Trusted, folder: Provenance, at: datetime) -> Trusted:
    """Follows the metadata at the time of the statement: documents that have expired since then stay valid."""
    files, found = folder.metadata, start
    raw = encode(repository.trust_bundle(files))
    while (version := chain.missing_root(found, raw)) is not None:
        found = chain.take_root(found, files[f"{version}.root.json"])
    return chain.follow(found, raw, at)


def _role(trusted: Trusted, folder: Provenance, model: str, at: datetime) -> Any:
    raw = folder.metadata[f"{role_name(model)}.json"].encode()
    return chain.role_of(chain.take_role(trusted, model, raw, at), model)


def _manifest(role: Any, folder: Provenance) -> Manifest:
    if isinstance(role, BadInput):
        raise BadInput(role.code, "not reached: no role of this model can be trusted")
    release = folder.described.get("release")
    found = role.manifests.get(release)
    if found is None:
        raise BadInput(Code.NOT_IN_IMAGE_REPO, f"no release signer has signed release {release}")
    signed: Manifest = found
    if canonical(msgspec.to_builtins(signed)) != canonical(folder.described.get("manifest")):
        raise BadInput(Code.IMAGE_MISMATCH, "the folder shows another manifest than the one that was signed")
    return signed


def _director(folder: Provenance, trusted: Trusted) -> str:
    from securesystemslib.signer import Signature

    targets: Targets = chain.targets_of(trusted)
    delegations, signed = targets.delegations, folder.signed
    roles = delegations.roles if delegations is not None else None
    if delegations is None or not roles or signed.keyid not in roles[DIRECTOR].keyids:
        raise BadInput(Code.SIGNATURE_INVALID, f"key {signed.keyid[:12]} is not the director of this fleet")
    try:
        delegations.keys[signed.keyid].verify_signature(
            Signature(signed.keyid, signed.signature), signed_bytes(signed.statement)
        )
    except Exception as error:  # securesystemslib's errors and those for a bad hex text have no common base class
        words = f"the statement was changed after it was signed: {type(error).__name__}"
        raise BadInput(Code.SIGNATURE_INVALID, words) from None
    return signed.keyid


def _attempt(check: Callable[[], Any]) -> Any:
    """Returns the result of a check, or its error as a value."""
    try:
        return check()
    except BadInput as error:
        return error
    except (KeyError, ValueError) as error:
        return BadInput(Code.METADATA_MISMATCH, f"metadata.json lacks {error}")


def _edge(name: str, words: str, found: Any) -> Edge:
    if isinstance(found, BadInput):
        return Edge(name, f"{found.code}: {found.detail}", "broken")
    return Edge(name, words, "holds")


def _same(name: str, signed: str, shown: str, what: str) -> Edge:
    if signed == shown:
        return Edge(name, f"{what}: {signed[:16]}", "holds")
    return Edge(name, f"{what}: the folder has {shown[:16]}, signed is {signed[:16]}", "broken")


def _sha256(plain: object) -> str:
    return sha256_hex(canonical(plain))


def _short(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {str(each)[:16]}" for key, each in list(value.items())[:3])
    return "nothing" if value in (None, "") else str(value)[:60]
