"""Keys on the controller's disk, mode 0600: signing keys and secrets. Missing ones are made.

A new controller makes every key itself and logs that: in production, root, targets and release keys must be stored
elsewhere (docs/guides/go-to-production.md). Refuses to know what is signed.
"""

import logging
import os
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from securesystemslib.signer import CryptoSigner, Signer

from contract.errors import BadInput, Code
from contract.keys import private_key_of
from contract.trust import repository
from contract.trust.repository import ONLINE
from controller.registry.atomic_file import replace_file, sync_directory
from controller.registry.store import Store
from controller.trust.keyring import Keyring
from controller.trust.metadata import TrustMetadata

BEGUN = "first-start"
"""A file beside the keys while the keys of a new fleet are being made: some exist, but no metadata names them yet."""

_log = logging.getLogger("edgeward.trust")


def open_trust_metadata(store: Store, directory: Path, metadata: Path | None, now: datetime) -> TrustMetadata:
    """Returns the fleet's metadata and the keys in `directory`. At first start: what `edgeward trust init` wrote to
    `metadata`, or, without it, a fleet whose keys are all made here. BadInput `config_invalid`.
    """
    new = not store.all("trust")
    begun = directory / BEGUN
    if new and metadata is None and (begun.exists() or not any(directory.glob("*.pem"))):
        return _generated(store, directory, now)
    signers = {path.stem: load_signer(path) for path in sorted(directory.glob("*.pem"))}
    release = max((name for name in signers if name.partition("-")[0] == "release"), default="")
    trust_metadata = TrustMetadata(store, Keyring(signers.values(), signers.get(release)))
    if new:
        if metadata is None:
            raise BadInput(Code.CONFIG_INVALID, f"{directory} holds keys, but trust.metadata_dir names no metadata")
        trust_metadata.begin({path.name: path.read_text(encoding="utf-8") for path in metadata.glob("*.json")}, now)
    begun.unlink(missing_ok=True)
    return trust_metadata


def make_next(directory: Path, role: str, now: datetime) -> Signer:
    """Makes a new key for an online role. It is valid once offline keys have signed metadata that name it."""
    path = directory / f"{role}-{now:%Y%m%dT%H%M%S}.pem"
    while path.exists():  # another key was made in this second
        path = path.with_name(f"{path.stem}x.pem")
    return load_or_make_signer(path)


def load_or_make_signer(path: Path) -> Signer:
    """Returns the signer in `path`, made there if missing; BadInput `config_invalid` for a file that is
    no Ed25519 key.
    """
    if not path.exists():
        write_secret(path, private_pem(Ed25519PrivateKey.generate()))
    return load_signer(path)


def load_signer(path: Path) -> Signer:
    """The signer in `path`; BadInput `config_invalid`."""
    try:
        return CryptoSigner(load_private_key(path))
    except ValueError as error:
        raise BadInput(Code.CONFIG_INVALID, f"{path}: {error}") from None


def load_private_key(path: Path) -> PrivateKeyTypes:
    """The private key in a PEM file; BadInput `config_invalid`."""
    try:
        return private_key_of(path.read_bytes())
    except (OSError, ValueError, TypeError) as error:
        raise BadInput(Code.CONFIG_INVALID, f"{path}: {error}") from None


def load_or_make_secret(path: Path, make: bytes) -> str:
    """Returns the text in `path`; `make` is written there first if it is missing."""
    if not path.exists():
        write_secret(path, make)
    return path.read_text(encoding="ascii").strip()


def _generated(store: Store, directory: Path, now: datetime) -> TrustMetadata:
    _log.warning(
        "made every key of a new fleet in %s: fine for trying out; for production keep root, targets and release keys "
        "elsewhere (edgeward trust init)",
        directory,
    )
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    replace_file(directory / BEGUN, b"keys are being made here; safe to go on after a kill\n")
    made = {name: load_or_make_signer(directory / f"{name}.pem") for name in ("root", "targets", "release", *ONLINE)}
    trust_metadata = TrustMetadata(store, Keyring(made.values(), made["release"]))
    public = {name: made[name].public_key for name in ONLINE}
    trust_metadata.begin(repository.create([made["root"]], 1, made["targets"], public, now), now)
    (directory / BEGUN).unlink()
    return trust_metadata


def private_pem(key: PrivateKeyTypes) -> bytes:
    """A private key in PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def write_secret(path: Path, data: bytes) -> None:
    """Writes a new file that only its owner may read, durably; FileExistsError if it exists.

    After a kill at any moment there is the complete file or none: it is written beside its name, then linked to it.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    beside = path.with_name(f"{path.name}.new")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        path.hardlink_to(beside)
    finally:
        beside.unlink()
    sync_directory(path.parent)
