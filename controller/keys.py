"""The development key: made at first start, kept beside the registry with mode 0600. It signs every role for now."""

import os
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner, Signer

from contract.errors import BadInput, Code


def load_or_make_signer(path: Path) -> Signer:
    """The signer in `path`, made there if missing; BadInput `config_invalid` for a file that is no Ed25519 key."""
    if not path.exists():
        _write_secret(path, _pem(Ed25519PrivateKey.generate()))
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except ValueError as error:
        raise BadInput(Code.CONFIG_INVALID, f"{path}: {error}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise BadInput(Code.CONFIG_INVALID, f"{path}: not an Ed25519 key")
    return CryptoSigner(key)


def load_or_make_secret(path: Path, make: bytes) -> str:
    """The text in `path`; `make` is written there first if it is missing."""
    if not path.exists():
        _write_secret(path, make)
    return path.read_text(encoding="ascii").strip()


def _pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write_secret(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
