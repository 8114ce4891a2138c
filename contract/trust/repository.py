"""Builds and signs a fleet's metadata: ceremonies (root, targets), releases (roles), upkeep (snapshot, timestamp).

Pure: files in, changed files out; signers are handed in, wherever their keys are kept (file, HSM, KMS). Files have
names without a version, except roots, of which every version is kept: a device that was offline follows all of them.
Versions of all but roots follow the clock (`contract.versions`), so that a restored controller is ahead of what it has
lost.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from securesystemslib.signer import Key, Signer
from tuf.api.metadata import DelegatedRole, Delegations, Metadata, MetaFile, Root, Snapshot, Targets, Timestamp

from contract.errors import BadInput, Code
from contract.manifest import Manifest
from contract.protocol import MAX_METADATA_BYTES, MAX_ROOTS_IN_TRUST_BUNDLE
from contract.trust.chain import TrustBundle
from contract.trust.documents import DIRECTOR, ISSUED, load, model_role, read_model_role, role_name, sign
from contract.versions import next_version

Files = Mapping[str, str]
LIFE_DAYS = {"root": 365, "targets": 365, "models": 180, "snapshot": 30, "timestamp": 2}
AUDIT = "x-audit"
ONLINE = ("snapshot", "timestamp", DIRECTOR)


@dataclass(frozen=True, slots=True)
class Online:
    """Roles whose keys are on the controller: they sign current versions and desired documents, but no model."""

    snapshot: Signer
    timestamp: Signer
    director: Signer


def create(
    roots: Sequence[Signer],
    threshold: int,
    targets: Signer,
    online: Mapping[str, Key],
    now: datetime,
) -> dict[str, str]:
    """Returns root and top-level targets of a new fleet. `online`: public keys of snapshot, timestamp and director."""
    root = Root(version=1, expires=now + timedelta(days=LIFE_DAYS["root"]), consistent_snapshot=True)
    for signer in roots:
        root.add_key(signer.public_key, "root")
    root.roles["root"].threshold = threshold
    root.add_key(targets.public_key, "targets")
    for name in ("snapshot", "timestamp"):
        root.add_key(online[name], name)
    roles = {DIRECTOR: DelegatedRole(DIRECTOR, [], 1, True, ["desired/*"])}
    top = Targets(version=1, expires=now + timedelta(days=LIFE_DAYS["targets"]), delegations=Delegations({}, roles))
    top.add_key(online[DIRECTOR], DIRECTOR)
    return {"1.root.json": sign(root, *roots).decode(), "targets.json": sign(top, targets).decode()}


def delegate(
    files: Files, model: str, keys: Sequence[Key], *, threshold: int = 1, targets: Signer, now: datetime
) -> str:
    """Returns new top-level targets in which these keys, and no others, sign the versions of `model`."""
    top = current(files, "targets", Targets)
    name = role_name(model)
    assert top.delegations is not None
    assert top.delegations.roles is not None
    top.delegations.roles[name] = DelegatedRole(name, [], threshold, True, [f"models/{model}/*"])
    for key in keys:
        top.add_key(key, name)
    return _next(top, "targets", now, targets)


def sign_role(
    files: Files,
    model: str,
    manifests: Mapping[int, Manifest],
    *,
    min_release: int = 0,
    signers: Sequence[Signer],
    now: datetime,
) -> str:
    """Returns a new role document of `model` that lists these versions."""
    name = role_name(model)
    before = _load(files[f"{name}.json"], Targets).version if f"{name}.json" in files else 0
    version = next_version(before, now.timestamp())
    expires = now + timedelta(days=LIFE_DAYS["models"])
    role = model_role(model, manifests, version=version, expires=expires, min_release=min_release)
    return sign(role, *signers).decode()


def refresh(files: Files, online: Online, now: datetime, audit: str = "") -> dict[str, str]:
    """Returns `files` with a snapshot of the present files (a new one if they have changed or half its life is over)
    and a new timestamp. The timestamp carries the time and, as a witness on every device, a checkpoint of the audit
    log.
    """
    metas = {
        name: MetaFile(_load(text, Targets).version)
        for name, text in files.items()
        if name == "targets.json" or name.startswith("models-")
    }
    old = _load(files["snapshot.json"], Snapshot) if "snapshot.json" in files else None
    found = dict(files)
    signed = old is not None and _signed_by(files["snapshot.json"], online.snapshot)
    if old is None or not signed or old.meta != metas or _half_over(old.expires, "snapshot", now):
        version = next_version(old.version if old else 0, now.timestamp())
        life = timedelta(days=LIFE_DAYS["snapshot"])
        found["snapshot.json"] = sign(
            Snapshot(version=version, expires=now + life, meta=metas), online.snapshot
        ).decode()
    stamp = _load(files["timestamp.json"], Timestamp).version if "timestamp.json" in files else 0
    extra = {ISSUED: now.isoformat(timespec="seconds")} | ({AUDIT: audit} if audit else {})
    meta = MetaFile(_load(found["snapshot.json"], Snapshot).version)
    expires = now + timedelta(days=LIFE_DAYS["timestamp"])
    version = next_version(stamp, now.timestamp())
    timestamp = Timestamp(version=version, expires=expires, snapshot_meta=meta, unrecognized_fields=extra)
    found["timestamp.json"] = sign(timestamp, online.timestamp).decode()
    return found


def due(files: Files, now: datetime, audit: str = "") -> bool:
    """Whether the timestamp is missing, past a quarter of its life (12 hours), or older than the first entry of the
    audit whose checkpoint is `audit`.
    """
    if "timestamp.json" not in files:
        return True
    if _has_entries(audit) and not _has_entries(audit_witness(files)):
        return True
    expires: datetime = _load(files["timestamp.json"], Timestamp).expires
    return expires - now < timedelta(days=LIFE_DAYS["timestamp"]) * 0.75


def _has_entries(checkpoint: str) -> bool:
    """Whether a checkpoint covers any entry of the audit."""
    return checkpoint.partition(":")[0] not in ("", "0")


def aged(files: Files, now: datetime) -> frozenset[str]:
    """Returns the names of root, targets and roles of models that have less than a third of their life left."""
    names = {"root": (f"{newest_root(files)}.root.json", Root), "targets": ("targets.json", Targets)}
    names |= {name.removesuffix(".json"): (name, Targets) for name in files if name.startswith("models-")}
    found = set()
    for role, (name, kind) in names.items():
        life = timedelta(days=LIFE_DAYS["models" if role.startswith("models-") else role])
        if name in files and _load(files[name], kind).expires - now < life / 3:
            found.add(role)
    return frozenset(found)


def signers_wanted(files: Files, role: str) -> tuple[tuple[str, ...], int]:
    """Returns (key ids that may sign for root, targets or a model's role, how many of them must); ((), 1) for no such
    role.
    """
    if role in ("root", "targets"):
        found = _load(files[f"{newest_root(files)}.root.json"], Root).roles[role]
    else:
        delegations = current(files, "targets", Targets).delegations
        found = delegations.roles.get(role) if delegations else None
    return (tuple(found.keyids), int(found.threshold)) if found else ((), 1)


def resign(files: Files, role: str, signers: Sequence[Signer], now: datetime) -> dict[str, str]:
    """Returns `files` in which root, targets or a model's role is unchanged but signed again with a later expiry."""
    if role == "root":
        return rotate_root(files, now, signers)
    life = "targets" if role == "targets" else "models"
    return {**files, f"{role}.json": _next(current(files, role, Targets), life, now, *signers)}


def rotate_root(
    files: Files,
    now: datetime,
    signers: Sequence[Signer],
    *,
    replace: Mapping[str, tuple[str, Key]] | None = None,
) -> dict[str, str]:
    """Returns the next root, signed by `signers` (old and new): `replace` maps a top-level role to (old key id, new
    key).
    """
    newest = newest_root(files)
    root = _load(files[f"{newest}.root.json"], Root)
    for role, (keyid, key) in (replace or {}).items():
        root.revoke_key(keyid, role)
        root.add_key(key, role)
    root.version += 1
    root.expires = now + timedelta(days=LIFE_DAYS["root"])
    return {**files, f"{root.version}.root.json": sign(root, *signers).decode()}


def resign_targets(files: Files, targets: Signer, now: datetime) -> str:
    """Returns the same top-level targets, signed by a new targets key."""
    return _next(current(files, "targets", Targets), "targets", now, targets)


def rotate_director(files: Files, keyid: str, key: Key, targets: Signer, now: datetime) -> str:
    """Returns new top-level targets with another director key: documents that the old key signed are refused after
    that.
    """
    top = current(files, "targets", Targets)
    top.revoke_key(keyid, DIRECTOR)
    top.add_key(key, DIRECTOR)
    return _next(top, "targets", now, targets)


def trust_bundle(files: Files) -> TrustBundle:
    """Returns the trust bundle: all documents that devices need, with the newest roots."""
    newest = newest_root(files)
    first = max(1, newest - MAX_ROOTS_IN_TRUST_BUNDLE + 1)
    roots = tuple(files[f"{version}.root.json"] for version in range(first, newest + 1))
    return TrustBundle(
        roots=roots, timestamp=files["timestamp.json"], snapshot=files["snapshot.json"], targets=files["targets.json"]
    )


def audit_witness(files: Files) -> str:
    """Returns the audit's checkpoint in the timestamp; empty if it has none."""
    return str(_load(files["timestamp.json"], Timestamp).unrecognized_fields.get(AUDIT, ""))


def newest_root(files: Files) -> int:
    """Returns the version of the newest root."""
    return max(int(name.partition(".")[0]) for name in files if name.endswith(".root.json"))


def current(files: Files, name: str, kind: type[Any]) -> Any:
    """Returns the parsed document `name`; BadInput `trust_missing`."""
    if f"{name}.json" not in files:
        raise BadInput(Code.TRUST_MISSING, f"no {name}.json: run `edgeward trust init`")
    return _load(files[f"{name}.json"], kind)


def online_keyids(files: Files) -> dict[str, tuple[str, ...]]:
    """Returns the key ids that root and targets name for snapshot, timestamp and director."""
    root = _load(files[f"{newest_root(files)}.root.json"], Root)
    found = {name: tuple(root.roles[name].keyids) for name in ("snapshot", "timestamp")}
    top = current(files, "targets", Targets)
    return {**found, DIRECTOR: tuple(top.delegations.roles[DIRECTOR].keyids)}


def timestamp_keys(files: Files) -> dict[str, Key]:
    """Returns the keys, by id, that any root of this fleet names for the timestamp."""
    roots = [_load(text, Root) for name, text in files.items() if name.endswith(".root.json")]
    return {keyid: root.keys[keyid] for root in roots for keyid in root.roles["timestamp"].keyids}


def targets_keyids(files: Files) -> tuple[str, ...]:
    """Returns the key ids that may name the signer of each model."""
    return signers_wanted(files, "targets")[0]


def models_of(files: Files) -> list[str]:
    """Models whose roles are among the files, sorted."""
    names = (name for name in files if name.startswith("models-"))
    return sorted(name.removeprefix("models-").removesuffix(".json") for name in names)


def role_contents(files: Files, model: str) -> tuple[Mapping[int, Manifest], int]:
    """Returns the manifests that the signer of `model` has signed, by release, and the oldest allowed release."""
    role = read_model_role(_load(files[f"{role_name(model)}.json"], Targets), model)
    return role.manifests, role.min_release


def signed_releases(files: Files, model: str) -> tuple[frozenset[int], int]:
    """Returns the releases that the signer of `model` has signed, and the oldest allowed one."""
    name = f"{role_name(model)}.json"
    if name not in files:
        return frozenset(), 0
    manifests, floor = role_contents(files, model)
    return frozenset(manifests), floor


def signers_of(files: Files, model: str) -> frozenset[str]:
    """Returns the key ids that may sign for `model`."""
    return frozenset(signers_wanted(files, role_name(model))[0])


def describe(files: Files) -> list[dict[str, Any]]:
    """Returns each role with its version, expiry, threshold and key ids, for people."""
    root = _load(files[f"{newest_root(files)}.root.json"], Root)
    top = current(files, "targets", Targets)
    rows = [_row("root", root, root.roles["root"]), _row("targets", top, root.roles["targets"])]
    for name, kind in (("snapshot", Snapshot), ("timestamp", Timestamp)):
        rows.append(_row(name, _load(files[f"{name}.json"], kind), root.roles[name]))
    for name, role in sorted(top.delegations.roles.items()):
        document = _load(files[f"{name}.json"], Targets) if f"{name}.json" in files else None
        rows.append(_row(name, document, role))
    return rows


def _row(name: str, document: Any, role: Any) -> dict[str, Any]:
    return {
        "role": name,
        "version": document.version if document else None,
        "expires": document.expires.isoformat() if document else None,
        "threshold": role.threshold,
        "keyids": sorted(role.keyids),
    }


def _next(document: Targets, life: str, now: datetime, *signers: Signer) -> str:
    document.version = next_version(document.version, now.timestamp())
    document.expires = now + timedelta(days=LIFE_DAYS[life])
    return sign(document, *signers).decode()


def _signed_by(text: str, signer: Signer) -> bool:
    metadata: Metadata[Any] = load(text.encode(), Snapshot, max_bytes=MAX_METADATA_BYTES)
    return signer.public_key.keyid in metadata.signatures


def _half_over(expires: datetime, name: str, now: datetime) -> bool:
    return expires - now < timedelta(days=LIFE_DAYS[name]) / 2


def _load(text: str, kind: type[Any]) -> Any:
    metadata: Metadata[Any] = load(text.encode(), kind, max_bytes=MAX_METADATA_BYTES)
    return metadata.signed
