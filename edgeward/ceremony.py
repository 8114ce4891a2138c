"""Keys and signatures outside the controller: the ceremonies of root, targets and release signers.

Decides which keys sign what. Keys are PEM files here, but any Signer of securesystemslib (HSM, KMS) works with the same
calls. Private keys are never sent. Refuses to know the command line.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner, Key, Signer, SSlibKey

from contract.errors import BadInput, Code
from contract.keys import private_key_of
from contract.manifest import Manifest
from contract.trust import repository
from contract.trust.documents import role_name
from contract.trust.repository import ONLINE, Files
from edgeward.answers.operators import PublicKey
from edgeward.client import Client
from edgeward.files import PRIVATE, move, write_whole


def begin(directory: Path, root_keys: int, threshold: int, now: datetime) -> dict[str, str]:
    """Makes every key of a new fleet and signs its first root and targets. Returns the metadata by file name.

    People keep `offline/`. `controller/` goes to the controller's keys/, and `metadata/` beside it. BadInput
    `request_invalid` if the directory is not empty or the threshold is impossible.
    """
    if not 1 <= threshold <= root_keys:
        raise BadInput(Code.REQUEST_INVALID, f"a threshold of {threshold} with {root_keys} root keys")
    if directory.exists() and any(directory.iterdir()):
        raise BadInput(Code.REQUEST_INVALID, f"{directory} is not empty: a ceremony never overwrites keys")
    offline, online = directory / "offline", directory / "controller"
    roots = [make_key(offline / f"root-{number}.pem") for number in range(1, root_keys + 1)]
    targets = make_key(offline / "targets.pem")
    make_key(offline / "release.pem")
    public = {name: make_key(online / f"{name}.pem").public_key for name in ONLINE}
    files = repository.create(roots, threshold, targets, public, now)
    write(directory / "metadata", files)
    return files


def vouch(
    client: Client, model: str, signers: Sequence[Signer], *, targets: Signer | None, floor: int, now: datetime
) -> list[int]:
    """Signs the waiting versions of `model`, and sends the role. Returns the releases that are signed now."""
    files, proposal = client.trust().files, client.proposal(model)
    changed: dict[str, str] = {}
    keys = [signer.public_key for signer in signers]
    if strangers := [key.keyid for key in keys if key.keyid not in proposal.signers]:
        if targets is None:
            words = f"key {strangers[0][:12]} may not sign for {model} yet"
            raise BadInput(Code.SIGNATURE_INVALID, f"{words}: add --targets-key, whose owner names the signers")
        named = repository.delegate(files, model, keys, threshold=len(keys), targets=targets, now=now)
        changed["targets.json"] = named
    manifests = {int(number): msgspec.convert(plain, Manifest) for number, plain in proposal.manifests.items()}
    floor = max(floor, proposal.min_release)
    role = repository.sign_role({**files, **changed}, model, manifests, min_release=floor, signers=signers, now=now)
    client.offer_metadata({**changed, f"{role_name(model)}.json": role})
    return sorted(manifests)


def rotate(client: Client, role: str, keys: Path, now: datetime) -> str:
    """Replaces the key of a role. `keys` is the directory of the offline keys. Returns the id of the new key."""
    files = client.trust().files
    if role == "director":
        made = _public(client.make_online_key(role))
        old = repository.online_keyids(files)[role][0]
        targets = open_key(keys / "targets.pem")
        client.offer_metadata({"targets.json": repository.rotate_director(files, old, made, targets, now)})
        return made.keyid
    if role in ONLINE:
        made = _public(client.make_online_key(role))
        _rotate_in_root(client, files, keys, {role: (repository.online_keyids(files)[role][0], made)}, now)
        return made.keyid
    return _rotate_offline(client, files, role, keys, now)


def _rotate_offline(client: Client, files: Files, role: str, keys: Path, now: datetime) -> str:
    name = "targets.pem" if role == "targets" else f"{role}.pem"
    old = open_key(keys / name)
    made = make_key(keys / f"new-{name}")
    top_level = "targets" if role == "targets" else "root"
    offered = repository.rotate_root(
        files,
        now,
        [*_roots(keys), made] if top_level == "root" else _roots(keys),
        replace={top_level: (old.public_key.keyid, made.public_key)},
    )
    if role == "targets":
        offered["targets.json"] = repository.resign_targets(files, made, now)
    client.offer_metadata(_changed(files, offered))
    move(keys / name, keys / f"retired-{old.public_key.keyid[:8]}-{name}")
    move(keys / f"new-{name}", keys / name)
    return made.public_key.keyid


def _rotate_in_root(
    client: Client, files: Files, keys: Path, replace: Mapping[str, tuple[str, Key]], now: datetime
) -> None:
    client.offer_metadata(_changed(files, repository.rotate_root(files, now, _roots(keys), replace=replace)))


def open_key(path: Path) -> Signer:
    """Returns the signer of a PEM file. BadInput `config_invalid` if it cannot be read."""
    try:
        return CryptoSigner(private_key_of(path.read_bytes()))
    except (OSError, ValueError, TypeError) as error:
        raise BadInput(Code.CONFIG_INVALID, f"{path}: {error}") from None


def make_key(path: Path) -> CryptoSigner:
    """Makes a new Ed25519 key in the file `path`, mode 0600. BadInput `request_invalid` if the file exists."""
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if path.exists():
        raise BadInput(Code.REQUEST_INVALID, f"{path} exists: a ceremony never overwrites keys")
    write_whole(path, pem, mode=PRIVATE)
    return CryptoSigner(key)


def write(directory: Path, files: Files) -> None:
    """Writes metadata as files into `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        write_whole(directory / name, text)


def _roots(keys: Path) -> list[Signer]:
    found = [open_key(path) for path in sorted(keys.glob("root-*.pem"))]
    if not found:
        raise BadInput(Code.CONFIG_INVALID, f"no root-*.pem in {keys}")
    return found


def _public(made: PublicKey) -> Key:
    return SSlibKey.from_dict(made.keyid, dict(made.key))


def _changed(before: Files, after: Files) -> dict[str, str]:
    return {name: text for name, text in after.items() if before.get(name) != text}
