"""Replaces a key in a fleet whose keys are on its controller; with keys elsewhere `edgeward trust rotate` does it with
files.

Decides which keys must sign. Pure except for the maker of keys, which is handed in. Refuses to know where keys are
stored.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Literal

from securesystemslib.signer import Key, Signer

from contract.errors import BadInput, Code
from contract.trust import repository
from contract.trust.documents import role_name
from contract.trust.repository import Files
from controller.trust.keyring import Keyring

Role = Literal["director", "timestamp", "snapshot", "targets", "root", "release"]
ELSEWHERE = "is elsewhere: `edgeward trust rotate ROLE --keys DIRECTORY` where the offline keys are"

Make = Callable[[str], Signer]


def rotated(files: Files, role: Role, keys: Keyring, make: Make, now: datetime) -> tuple[dict[str, str], Key]:
    """Returns (the documents with another key for `role`, that key). BadInput `signature_invalid`."""
    if role == "director":
        targets, old = _targets(files, keys), repository.online_keyids(files)[role][0]
        made = _made(role, keys, make)
        changed = repository.rotate_director(files, old, made.public_key, targets, now)
        return {**files, "targets.json": changed}, made.public_key
    if role == "release":
        return _rotated_release(files, keys, make, now)
    return _rotated_in_root(files, role, keys, make, now)


def _rotated_in_root(files: Files, role: Role, keys: Keyring, make: Make, now: datetime) -> tuple[dict[str, str], Key]:
    known, threshold = repository.signers_wanted(files, "root")
    roots = keys.enough(known, threshold)
    if roots is None or (role == "root" and len(known) > 1):
        raise BadInput(Code.SIGNATURE_INVALID, f"a root key {ELSEWHERE}")
    old = {**repository.online_keyids(files), "targets": repository.targets_keyids(files), "root": known}[role][0]
    made = _made(role, keys, make)
    signers = [*roots, made] if role == "root" else roots
    changed = repository.rotate_root(files, now, signers, replace={role: (old, made.public_key)})
    if role == "targets":
        changed["targets.json"] = repository.resign_targets(changed, made, now)
    return changed, made.public_key


def _rotated_release(files: Files, keys: Keyring, make: Make, now: datetime) -> tuple[dict[str, str], Key]:
    """Signs every model whose versions the present release key has signed with the next key."""
    targets, old = _targets(files, keys), keys.release
    if old is None:
        raise BadInput(Code.SIGNATURE_INVALID, f"the release key {ELSEWHERE}")
    made = _made("release", keys, make)
    changed = dict(files)
    for model in repository.models_of(files):
        if repository.signers_of(files, model) != {old.public_key.keyid}:
            continue
        changed["targets.json"] = repository.delegate(changed, model, [made.public_key], targets=targets, now=now)
        changed = repository.resign(changed, role_name(model), [made], now)
    keys.release = made
    return changed, made.public_key


def _targets(files: Files, keys: Keyring) -> Signer:
    found = keys.among(repository.targets_keyids(files))
    if found is None:
        raise BadInput(Code.SIGNATURE_INVALID, f"the targets key {ELSEWHERE}")
    return found


def _made(role: str, keys: Keyring, make: Make) -> Signer:
    made = make(role)
    keys.add(made)
    return made
