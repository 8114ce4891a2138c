"""The fleet's metadata: durable, kept current, and signed with whatever keys this controller was given.

Decides what the controller may vouch for by itself: what is current (snapshot, timestamp) and which device runs what
(director). What a model is needs the release signer's key, and naming signers needs the targets key: where those are
not here, it takes documents that were signed elsewhere, after following them as a device would. Refuses to know files
and sockets.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from securesystemslib.signer import Signer

from contract import topics
from contract.errors import BadInput, Code
from contract.manifest import Manifest
from contract.trust import chain, repository
from contract.trust.documents import role_name
from contract.trust.repository import Files, Online
from contract.wire import encode
from controller.registry.store import Store

_TABLE = "trust"


class Keyring:
    """What this controller can sign with, by key id. The metadata says which of them counts."""

    def __init__(self, signers: Iterable[Signer], release: Signer | None = None) -> None:
        self._by_id = {signer.public_key.keyid: signer for signer in signers}
        self.release = release
        """Signs for models that have no signer yet. In production it is kept elsewhere."""

    def add(self, signer: Signer) -> None:
        """Adds a key, for a rotation that is about to come."""
        self._by_id[signer.public_key.keyid] = signer

    def among(self, keyids: Iterable[str]) -> Signer | None:
        """A key that is here and among these."""
        return next((self._by_id[keyid] for keyid in keyids if keyid in self._by_id), None)

    def enough(self, keyids: Iterable[str], threshold: int) -> list[Signer]:
        """As many keys among these as must sign; none if fewer are here."""
        found = [self._by_id[keyid] for keyid in keyids if keyid in self._by_id]
        return found[:threshold] if len(found) >= threshold else []

    def online(self, files: Files) -> Online:
        """The keys that root and targets name for the controller; BadInput `signature_invalid` if one is not here."""
        found = {name: self.among(keyids) for name, keyids in repository.online_keyids(files).items()}
        missing = [name for name, signer in found.items() if signer is None]
        if missing:
            raise BadInput(Code.SIGNATURE_INVALID, f"the key that root names for {', '.join(missing)} is not here")
        return Online(**{name: signer for name, signer in found.items() if signer is not None})


class TrustMetadata:
    """Metadata of one fleet on a Store."""

    def __init__(self, store: Store, keys: Keyring) -> None:
        self._store = store
        self.keys = keys
        self.witness: Callable[[], str] = lambda: ""
        """The audit's newest checkpoint. Every timestamp but a fleet's first carries it, so every device holds it."""
        self._director: tuple[str, Signer] | None = None

    @property
    def director(self) -> Signer:
        """Signs desired documents."""
        targets = self._store.all(_TABLE)["targets.json"]["text"]
        if self._director is None or self._director[0] != targets:
            self._director = (targets, self.keys.online(self.files).director)
        return self._director[1]

    @property
    def files(self) -> dict[str, str]:
        """Every document by name, as it was signed."""
        return {name: doc["text"] for name, doc in self._store.all(_TABLE).items()}

    def begin(self, files: Files, now: datetime) -> None:
        """Takes a new fleet's root and targets, and signs what is current."""
        self._keep(self._signed(files, now))

    def root(self) -> str:
        """What a device is given at enrolment: the newest root."""
        files = self.files
        return files[f"{repository.newest_root(files)}.root.json"]

    def trust_bundle(self) -> bytes:
        """The message that devices follow."""
        return encode(repository.trust_bundle(self.files))

    def role(self, model: str) -> bytes | None:
        """The role document of a model; None while nobody has signed one."""
        text = self.files.get(f"{role_name(model)}.json")
        return text.encode() if text is not None else None

    def messages(self, models: Iterable[str]) -> dict[str, bytes]:
        """What the broker must hold, by topic: roles, then the bundle, then every root."""
        found = {topics.model_role(model): role for model in sorted(models) if (role := self.role(model)) is not None}
        found[topics.trust()] = self.trust_bundle()
        files = self.files
        for version in range(1, repository.newest_root(files) + 1):
            found[topics.root(version)] = files[f"{version}.root.json"].encode()
        return found

    def audit_witness(self) -> str:
        """The audit's checkpoint in the timestamp that is published."""
        return repository.audit_witness(self.files)

    def signed(self, model: str) -> frozenset[int]:
        """Releases that a release signer vouches for."""
        return repository.signed_releases(self.files, model)[0]

    def vouch(self, model: str, manifests: Mapping[int, Manifest], now: datetime) -> bool:
        """Signs the role of a model if the release key is here; False if a person must."""
        files = self.files
        if not repository.signers_of(files, model):
            targets, release = self.keys.among(repository.targets_keyids(files)), self.keys.release
            if targets is None or release is None:
                return False
            files["targets.json"] = repository.delegate(files, model, [release.public_key], targets=targets, now=now)
        signer = self.keys.among(repository.signers_of(files, model))
        if signer is None:
            return False
        floor = repository.signed_releases(files, model)[1]
        role = repository.sign_role(files, model, manifests, min_release=floor, signers=[signer], now=now)
        files[f"{role_name(model)}.json"] = role
        self._keep(self._signed(files, now))
        return True

    def accept(self, offered: Files, now: datetime) -> list[str]:
        """Takes documents that were signed elsewhere; returns the names of those that are new.

        BadInput with the kind of fault, and then nothing has changed: a device with this fleet's root must be able to
        follow.
        """
        before = self.files
        unknown = [name for name in offered if not _may_be_offered(name)]
        if unknown:
            raise BadInput(Code.REQUEST_INVALID, f"{unknown[0][:80]!r}: only roots, targets.json and models-*.json")
        changed = {name: text for name, text in offered.items() if before.get(name) != text}
        files = {**before, **changed}
        files = self._signed(files, now)
        _check_followable(before, files, now)
        self._keep(files)
        return sorted(changed)

    def refresh(self, now: datetime) -> bool:
        """Keeps the timestamp young, and with it what else this controller has the keys for: root, targets, models.

        Returns whether there is something new to publish.
        """
        files = self.files
        if not repository.due(files, now):
            return False
        for role in sorted(repository.aged(files, now)):
            if signers := self.keys.enough(*repository.signers_wanted(files, role)):
                files = repository.resign(files, role, signers, now)
        self._keep(self._signed(files, now))
        return True

    def _signed(self, files: Files, now: datetime) -> dict[str, str]:
        return repository.refresh(files, self.keys.online(files), now, self.witness())

    def _keep(self, files: Files) -> None:
        self._store.put(_TABLE, {name: {"text": text} for name, text in files.items()})


def _may_be_offered(name: str) -> bool:
    stem = name.removesuffix(".json")
    return name.endswith(".json") and (stem == "targets" or stem.startswith("models-") or stem.endswith(".root"))


def _check_followable(before: Files, files: Files, now: datetime) -> None:
    """Follows the documents as a device that trusts the first root, then as one that trusts what was published."""
    steps = [{name: before[name] for name in before if name.endswith(".root.json")} | dict(files)]
    first = chain.trust_root(before["1.root.json"])
    for version in range(2, repository.newest_root(files) + 1):
        first = chain.take_root(first, files[f"{version}.root.json"])
    grounds = [first]
    if "timestamp.json" in before:
        known = chain.trust_root(before[f"{repository.newest_root(before)}.root.json"])
        grounds.append(chain.follow(known, encode(repository.trust_bundle(before)), now))
    for ground in grounds:
        trusted = chain.follow(ground, encode(repository.trust_bundle(steps[0])), now)
        for name in files:
            if name.startswith("models-"):
                model = name.removeprefix("models-").removesuffix(".json")
                chain.take_role(trusted, model, files[name].encode(), now)
