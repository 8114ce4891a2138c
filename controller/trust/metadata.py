"""The fleet's metadata: durable, kept current, and signed with the keys that this controller was given.

Decides what the controller may sign by itself: current versions (snapshot, timestamp) and desired documents
(director). The versions of a model need the release signer's key, and naming signers needs the targets key. If
those are not here, it accepts documents that were signed elsewhere, after following them as a device would. Refuses
to know files and sockets.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from securesystemslib.signer import Key, Signer

from contract import topics
from contract.errors import BadInput, Code
from contract.manifest import Manifest
from contract.trust import chain, repository
from contract.trust.documents import role_name
from contract.trust.repository import Files
from contract.wire import encode
from controller.registry.store import Store
from controller.trust import rotation
from controller.trust.keyring import Keyring

_TABLE = "trust"
ROOTS_AFTER_RESTORE = 4
"""Roots in a row that a restored fleet signs, so that devices that have followed up to three roots which the backup
does not have, by the same root keys, can continue from there. Each is 2 kB of a trust bundle."""


class TrustMetadata:
    """Metadata of one fleet, in a Store."""

    def __init__(self, store: Store, keys: Keyring) -> None:
        self._store = store
        self.keys = keys
        self.witness: Callable[[], str] = lambda: ""
        """The audit's newest checkpoint. Timestamps contain it, so every device has it: a fleet's first one says that
        there is no entry yet, the next one follows with the first entry.
        """
        self._director: tuple[str, Signer] | None = None

    @property
    def director(self) -> Signer:
        """The signer of desired documents."""
        targets = self._store.all(_TABLE)["targets.json"]["text"]
        if self._director is None or self._director[0] != targets:
            self._director = (targets, self.keys.online(self.files).director)
        return self._director[1]

    @property
    def timestamp_signer(self) -> Signer:
        """The signer of snapshot and timestamp, and of the audit's seal."""
        return self.keys.online(self.files).timestamp

    @property
    def newest_root(self) -> int:
        """The version of the newest root."""
        return repository.newest_root(self.files)

    @property
    def files(self) -> dict[str, str]:
        """Every document by name, as it was signed."""
        return {name: doc["text"] for name, doc in self._store.all(_TABLE).items()}

    def begin(self, files: Files, now: datetime) -> None:
        """Takes a new fleet's root and targets, and signs snapshot and timestamp."""
        self._keep(self._signed(files, now))

    def root(self) -> str:
        """Returns what a device gets at enrolment: the newest root."""
        files = self.files
        return files[f"{repository.newest_root(files)}.root.json"]

    def trust_bundle(self) -> bytes:
        """The message that devices follow."""
        return encode(repository.trust_bundle(self.files))

    def role(self, model: str) -> bytes | None:
        """Returns the role document of a model; None if there is no signed one."""
        text = self.files.get(f"{role_name(model)}.json")
        return text.encode() if text is not None else None

    def messages(self, models: Iterable[str]) -> dict[str, bytes]:
        """Returns what the broker must hold, by topic: roles, then the bundle, then every root."""
        found = {topics.model_role(model): role for model in sorted(models) if (role := self.role(model)) is not None}
        found[topics.trust()] = self.trust_bundle()
        files = self.files
        for version in range(1, repository.newest_root(files) + 1):
            found[topics.root(version)] = files[f"{version}.root.json"].encode()
        return found

    def audit_witness(self) -> str:
        """Returns the audit's checkpoint in the published timestamp."""
        return repository.audit_witness(self.files)

    def signed(self, model: str) -> frozenset[int]:
        """Returns the releases that a release signer has signed."""
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
        """Accepts documents that were signed elsewhere; returns the names of those that are new.

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

    def rotate(self, role: rotation.Role, make: Callable[[str], Signer], now: datetime) -> Key:
        """Replaces the key of a role with one that `make` makes, with the keys that are here; returns the new public
        key.

        BadInput `signature_invalid` if the keys that must sign are elsewhere; then nothing has changed.
        """
        before = self.files
        files, key = rotation.rotated(before, role, self.keys, make, now)
        files = self._signed(files, now)
        _check_followable(before, files, now)
        self._keep(files)
        return key

    def after_restore(self, make: Callable[[str], Signer], now: datetime) -> list[str]:
        """Signs again what the keys here can sign, so that devices with newer documents than the backup can follow;
        returns the names of the documents that people must sign again. `make` makes a key for a role.

        A device never accepts an older snapshot than it has seen. This ends with the snapshot's key, so the keys of
        snapshot and timestamp are replaced, if root keys are here.
        """
        files, waiting = self._signed_again(now)
        if (roots := self.keys.enough(*repository.signers_wanted(files, "root"))) is None:
            waiting += ["snapshot", "timestamp"]
        else:
            made = {role: make(role) for role in ("snapshot", "timestamp")}
            for signer in made.values():
                self.keys.add(signer)
            old = repository.online_keyids(files)
            replaced = {role: (old[role][0], signer.public_key) for role, signer in made.items()}
            files = repository.rotate_root(files, now, roots, replace=replaced)
            for _ in range(ROOTS_AFTER_RESTORE - 1):
                files = repository.rotate_root(files, now, roots)
        self._keep(self._signed(files, now))
        return waiting

    def _signed_again(self, now: datetime) -> tuple[dict[str, str], list[str]]:
        """Returns (documents with newer versions of roles and targets, names of those whose keys are elsewhere)."""
        files, waiting = self.files, []
        for role in [*map(role_name, repository.models_of(files)), "targets"]:
            if signers := self.keys.enough(*repository.signers_wanted(files, role)):
                files = repository.resign(files, role, signers, now)
            elif role != "targets":
                waiting.append(role)
        return files, waiting

    def refresh(self, now: datetime) -> bool:
        """Renews the timestamp in time, and also root, targets and models if this controller has their keys.

        Returns whether there is something new to publish.
        """
        files = self.files
        if not repository.due(files, now, self.witness()):
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
    """Follows the documents as a device that trusts the first root, then as one that trusts the published metadata."""
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
