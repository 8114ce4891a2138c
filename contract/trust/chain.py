"""Follows signed metadata from a root that was trusted before, as a device does with every trust bundle.

The input is the trust so far, a bundle and a time; the output is the new trust, or a coded refusal. No clock, no
input and output. A memo of the newest results makes repeated calls faster and changes no result. The checks are
python-tuf's own (`TrustedMetadataSet`, the core of its client). Its files and network are not used; this project
handles power cuts itself. A time floor is valid exactly as long as the key that signed it. `x-issued` of a
timestamp counts while that timestamp verifies under the current root. So a floor that was raised with a stolen key
ends when root rotates that key.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec
from tuf.api.exceptions import EqualVersionNumberError, RepositoryError
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp
from tuf.api.serialization import DeserializationError

from contract.errors import BadInput, Code
from contract.protocol import MAX_METADATA_BYTES, MAX_ROOTS_IN_TRUST_BUNDLE
from contract.trust.documents import DIRECTOR, ISSUED, load, read_model_role, refusal, role_name, when
from contract.trust.tuf_core import EnvelopeType, TrustedMetadataSet
from contract.trust.verified import ModelRole, Trusted
from contract.wire import Message, decode, decode_plain

TARGETS = "targets"
_TUF_ERRORS = (RepositoryError, DeserializationError)


class FollowedInPartError(BadInput):
    """A trust bundle with good parts before a fault: the good parts are kept, because they are newer than the stored
    ones.
    """

    def __init__(self, fault: BadInput, verified: Trusted) -> None:
        super().__init__(fault.code, fault.detail)
        self.verified = verified
        """What is trusted, up to the fault."""


class TrustBundle(Message, frozen=True):
    """One retained message: the newest roots in order, then the metadata that they sign; each file as it was signed."""

    roots: tuple[str, ...]
    timestamp: str
    snapshot: str
    targets: str


def trust_root(root: str) -> Trusted:
    """The trust that a device starts with: the root from its enrolment. BadInput `config_invalid`."""
    try:
        TrustedMetadataSet(root.encode(), EnvelopeType.METADATA)
    except _TUF_ERRORS as error:
        raise BadInput(Code.CONFIG_INVALID, f"not a root of trust: {error}") from None
    return Trusted(root=root)


@lru_cache(maxsize=2)
def read_trust_bundle(raw: bytes) -> TrustBundle:
    """Reads a bundle within its limits; BadInput `message_malformed`, `message_too_large`."""
    trust_bundle = decode(raw, TrustBundle, max_bytes=MAX_METADATA_BYTES)
    if len(trust_bundle.roots) > MAX_ROOTS_IN_TRUST_BUNDLE:
        raise BadInput(Code.MESSAGE_TOO_LARGE, f"{len(trust_bundle.roots)} roots, limit {MAX_ROOTS_IN_TRUST_BUNDLE}")
    for text in (*trust_bundle.roots, trust_bundle.timestamp, trust_bundle.snapshot, trust_bundle.targets):
        _no_doubles(text)
    return trust_bundle


def missing_root(trusted: Trusted, raw: bytes) -> int | None:
    """Returns the root version to request if the bundle's oldest root is more than one step ahead; None if no step is
    missing.
    """
    versions = [version for text in _roots_in(raw) if (version := _readable_version(text)) is not None]
    here = _version(trusted.root)
    return here + 1 if versions and min(versions) > here + 1 else None


def newer_roots(trusted: Trusted, raw: bytes) -> list[str]:
    """Returns the roots of a bundle that come after the trusted one, in order, unreadable ones last; unverified.

    BadInput `message_malformed`, `message_too_large`. The rest of the bundle is not read.
    """
    versions = {text: _readable_version(text) for text in _roots_in(raw)}
    here = _version(trusted.root)
    readable = sorted((version, text) for text, version in versions.items() if version is not None and version > here)
    return [*(text for _, text in readable), *(text for text, version in versions.items() if version is None)]


def take_root(trusted: Trusted, text: str) -> Trusted:
    """Takes one step of the root chain; BadInput with the kind of fault."""
    _no_doubles(text)
    chain = _begin(trusted)
    try:
        chain.update_root(text.encode())
    except _TUF_ERRORS as error:
        raise refusal("root", error) from None
    return msgspec.structs.replace(trusted, root=text)


def follow(trusted: Trusted, raw: bytes, now: datetime) -> Trusted:
    """Returns what is trusted after a trust bundle. FollowedInPartError holds the kind of fault, and what was verified
    before it.

    Roles that do not fit the new snapshot are left out, because their newer documents will follow.
    """
    return _verified_once((trusted, raw), now, lambda: _follow(trusted, raw, now))


def take_role(trusted: Trusted, model: str, raw: bytes, now: datetime) -> Trusted:
    """Returns what is trusted with the release signer's document. BadInput with the kind of fault (`metadata_rollback`:
    not the version that the snapshot names), `not_in_image_repo` for a model without a release signer.
    """
    return _verified_once((trusted, model, raw), now, lambda: _take_role(trusted, model, raw, now))


Found = tuple[Trusted, datetime]
"""(what is trusted, the earliest expiry of its parts)"""
MAX_VERIFIED = 16
_memo: dict[tuple[Any, ...], Found] = {}


def _verified_once(key: tuple[Any, ...], now: datetime, verify: Callable[[], Found]) -> Trusted:
    """The same bytes with the same trust give the same result until a part expires; retained messages come with
    every connection.
    """
    known = _memo.get(key)
    if known is not None and now < known[1]:
        return known[0]
    found = verify()
    if len(_memo) >= MAX_VERIFIED:
        del _memo[next(iter(_memo))]
    _memo[key] = found
    return found[0]


def _follow(trusted: Trusted, raw: bytes, now: datetime) -> Found:
    """Follows the roots first, one by one: a root that revokes a key counts, even if the rest of the bundle is
    invalid.
    """
    verified = trusted
    try:
        for text in newer_roots(trusted, raw):
            verified = take_root(verified, text)
        trust_bundle = read_trust_bundle(raw)
        chain = _begin(verified)
        chain.reference_time = _floored(trusted, chain.root, now)
        replace = msgspec.structs.replace
        timestamp = _newer(chain.update_timestamp, trusted.timestamp, trust_bundle.timestamp)
        verified = replace(verified, timestamp=timestamp)
        snapshot = _fitting(lambda data: chain.update_snapshot(data, trusted=True), trusted.snapshot)
        verified = replace(verified, snapshot=snapshot or _must(chain.update_snapshot, trust_bundle.snapshot))
        targets = _fitting(chain.update_targets, trusted.targets) or _must(chain.update_targets, trust_bundle.targets)
    except BadInput as fault:
        raise FollowedInPartError(fault, verified) from None
    except _TUF_ERRORS as error:
        raise FollowedInPartError(refusal("trust bundle", error), verified) from None
    roles = tuple((model, text) for model, text in trusted.roles if _fitting(_role_update(chain, model), text))
    return replace(verified, targets=targets, roles=roles), _expires(chain)


def _take_role(trusted: Trusted, model: str, raw: bytes, now: datetime) -> Found:
    decode_plain(raw, max_bytes=MAX_METADATA_BYTES)
    if not is_vouched(trusted):
        raise BadInput(Code.TRUST_MISSING, "no trust bundle has come yet")
    chain = _begin(trusted)
    try:
        chain.reference_time = _floored(trusted, chain.root, now)
        chain.update_timestamp(trusted.timestamp.encode())
        chain.update_snapshot(trusted.snapshot.encode(), trusted=True)
        chain.update_targets(trusted.targets.encode())
        if f"{role_name(model)}.json" not in chain.snapshot.meta:
            raise BadInput(Code.NOT_IN_IMAGE_REPO, f"{model} has no release signer")
        role = _role_update(chain, model)(raw)
    except (*_TUF_ERRORS, ValueError) as error:
        raise refusal(f"role of {model}", error) from None
    read_model_role(role, model)
    roles = dict(trusted.roles) | {model: raw.decode()}
    found = msgspec.structs.replace(trusted, roles=tuple(sorted(roles.items())))
    return found, min(_expires(chain), role.expires)


def _expires(chain: Any) -> datetime:
    earliest: datetime = min(part.expires for part in (chain.root, chain.timestamp, chain.snapshot, chain.targets))
    return earliest


def is_early(trusted: Trusted, model: str, raw: bytes) -> bool:
    """Whether an unverified role claims to be newer than the version that the snapshot names. BadInput."""
    claimed = _claimed_version(raw)
    named = _named_versions(trusted.snapshot).get(f"{role_name(model)}.json") if is_vouched(trusted) else None
    return named is None or claimed > named


def role_of(trusted: Trusted, model: str) -> ModelRole | None:
    """Returns what the release signer of `model` has signed; None before its document has come, or while trust is
    incomplete.
    """
    text = dict(trusted.roles).get(model)
    return None if text is None or not is_vouched(trusted) else _parsed_role(text, model)


def with_roles(trusted: Trusted, roles: Mapping[str, str]) -> Trusted:
    """Returns `trusted` with roles that were verified before, if its snapshot and its targets still name them."""
    if not roles or not is_vouched(trusted):
        return trusted
    chain = _vouched(trusted)
    fitting = ((model, text) for model, text in sorted(roles.items()) if _fitting(_role_update(chain, model), text))
    return msgspec.structs.replace(trusted, roles=tuple(fitting))


@lru_cache(maxsize=4)
def is_vouched(trusted: Trusted) -> bool:
    """Whether desired documents can be verified: the newest root covers everything up to the director.

    If a root has revoked a key, or a part has not come, the former trust still prevents rollbacks but cannot verify
    documents. Expiry is checked elsewhere.
    """
    try:
        _vouched(trusted)
    except (*_TUF_ERRORS, RuntimeError):
        return False
    return True


def targets_of(trusted: Trusted) -> Targets:
    """Returns the top-level targets: which name the director and the signer of each model. BadInput `trust_missing`
    before a bundle came.
    """
    if not is_vouched(trusted):
        raise BadInput(Code.TRUST_MISSING, "no trust bundle has come yet")
    return _parsed_targets(trusted.targets)


def expires(trusted: Trusted) -> datetime:
    """Returns the earliest expiry of what verifies desired documents. BadInput `trust_missing`."""
    if not trusted.complete:
        raise BadInput(Code.TRUST_MISSING, "no trust bundle has come yet")
    kinds: tuple[tuple[str, Any], ...] = (
        (trusted.root, Root),
        (trusted.timestamp, Timestamp),
        (trusted.snapshot, Snapshot),
        (trusted.targets, Targets),
    )
    return min(_expiry(text, kind) for text, kind in kinds)


def director_keys(trusted: Trusted) -> tuple[str, ...]:
    """Key ids of the director. What a device keeps of a director is valid as long as the director's keys."""
    delegations = targets_of(trusted).delegations
    roles = delegations.roles if delegations is not None else None
    return tuple(sorted(roles[DIRECTOR].keyids)) if roles and DIRECTOR in roles else ()


def time_floor(trusted: Trusted, now: datetime) -> datetime:
    """Returns `now`, or the newest signed time that is still valid if the clock is behind it."""
    return max(now, _floor(trusted.root, trusted.timestamp))


@lru_cache(maxsize=16)
def _expiry(text: str, kind: Any) -> datetime:
    found: datetime = load(text.encode(), kind, max_bytes=MAX_METADATA_BYTES).signed.expires
    return found


@lru_cache(maxsize=8)
def _parsed_targets(text: str) -> Targets:
    """Parses targets from a text that was verified before."""
    targets: Targets = load(text.encode(), Targets, max_bytes=MAX_METADATA_BYTES).signed
    return targets


@lru_cache(maxsize=8)
def _parsed_role(text: str, model: str) -> ModelRole:
    return read_model_role(_parsed_targets(text), model)


@lru_cache(maxsize=2)
def _named_versions(snapshot: str) -> Mapping[str, int]:
    """Returns the version of every document that a snapshot names."""
    named = load(snapshot.encode(), Snapshot, max_bytes=MAX_METADATA_BYTES).signed.meta
    return {name: meta.version for name, meta in named.items()}


@lru_cache(maxsize=2)
def _claimed_version(raw: bytes) -> int:
    claimed: int = load(raw, Targets, max_bytes=MAX_METADATA_BYTES).signed.version
    return claimed


def _begin(trusted: Trusted) -> Any:
    chain = TrustedMetadataSet(trusted.root.encode(), EnvelopeType.METADATA)
    chain.reference_time = datetime(1970, 1, 1, tzinfo=UTC)
    return chain


def _vouched(trusted: Trusted) -> Any:
    """Returns the chain from root to targets, ignoring expiry. Raises python-tuf's errors if a part does not fit."""
    chain = _begin(trusted)
    chain.update_timestamp(trusted.timestamp.encode())
    chain.update_snapshot(trusted.snapshot.encode(), trusted=True)
    chain.update_targets(trusted.targets.encode())
    return chain


def _role_update(chain: Any, model: str) -> Callable[[bytes], Any]:
    return lambda data: chain.update_delegated_targets(data, role_name(model), TARGETS)


def _newer(update: Callable[[bytes], object], stored: str, offered: str) -> str:
    """Loads the stored document first, for rollback protection; the offered one must not be older."""
    if stored:
        _fitting(update, stored)
    try:
        update(offered.encode())
    except EqualVersionNumberError:
        return stored
    return offered


def _fitting(update: Callable[[bytes], object], stored: str) -> str:
    """Returns the stored document if it is still the right one, else None."""
    if not stored:
        return ""
    try:
        update(stored.encode())
    except _TUF_ERRORS:
        return ""
    return stored


def _must(update: Callable[[bytes], object], offered: str) -> str:
    update(offered.encode())
    return offered


def _floored(trusted: Trusted, root: Root, now: datetime) -> datetime:
    if not trusted.timestamp:
        return now
    try:
        metadata: Metadata[Timestamp] = Metadata.from_bytes(trusted.timestamp.encode())
        root.verify_delegate("timestamp", metadata.signed_bytes, metadata.signatures)
        return max(now, when(str(metadata.signed.unrecognized_fields.get(ISSUED))))
    except (*_TUF_ERRORS, BadInput):
        return now


@lru_cache(maxsize=8)
def _floor(root: str, timestamp: str) -> datetime:
    trusted = Trusted(root=root, timestamp=timestamp)
    return _floored(trusted, _begin(trusted).root, datetime(1970, 1, 1, tzinfo=UTC))


@lru_cache(maxsize=MAX_ROOTS_IN_TRUST_BUNDLE + 1)
def _version(text: str) -> int:
    root = load(text.encode(), Root, max_bytes=MAX_METADATA_BYTES).signed
    return int(root.version)


def _readable_version(text: str) -> int | None:
    try:
        return _version(text)
    except BadInput:
        return None


class _Roots(msgspec.Struct, frozen=True):
    """The roots of a bundle; other content is ignored."""

    roots: tuple[str, ...]


@lru_cache(maxsize=2)
def _roots_in(raw: bytes) -> tuple[str, ...]:
    roots = decode(raw, _Roots, max_bytes=MAX_METADATA_BYTES).roots
    if len(roots) > MAX_ROOTS_IN_TRUST_BUNDLE:
        raise BadInput(Code.MESSAGE_TOO_LARGE, f"{len(roots)} roots, limit {MAX_ROOTS_IN_TRUST_BUNDLE}")
    return roots


def _no_doubles(text: str) -> None:
    """Refuses duplicate keys, because two readers could read two different documents under one signature."""
    decode_plain(text.encode(), max_bytes=MAX_METADATA_BYTES)
