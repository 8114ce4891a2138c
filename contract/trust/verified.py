"""The content of verified documents. Data types only.

Separate from `chain` and `documents`, whose checks import python-tuf and cryptography: 48 ms that a device need not
spend before it serves its confirmed versions.
"""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from contract.desired import DesiredTarget
from contract.erasure import Erasure
from contract.manifest import Manifest
from contract.remote_config import RemoteConfig
from contract.wire import Message


class Trusted(Message, frozen=True):
    """Metadata that a device has verified, as it was signed. All that trust keeps on flash."""

    root: str
    timestamp: str = ""
    snapshot: str = ""
    targets: str = ""
    roles: tuple[tuple[str, str], ...] = ()
    """(model, role document), sorted by model; only those that fit the snapshot."""

    @property
    def complete(self) -> bool:
        """Whether every part has come once; `chain.is_vouched` says whether they fit together now."""
        return bool(self.targets)


class _Expiring(msgspec.Struct, frozen=True):
    expires: datetime


class _Document(msgspec.Struct, frozen=True):
    signed: _Expiring


_DOCUMENT = msgspec.json.Decoder(_Document)


def role_expiries(trusted: Trusted) -> dict[str, int]:
    """Returns when each verified role expires, by its name, in seconds since 1970."""
    texts = {name: getattr(trusted, name) for name in ("root", "targets", "snapshot", "timestamp")}
    texts |= {f"models-{model}": text for model, text in trusted.roles}
    return {name: int(_DOCUMENT.decode(text).signed.expires.timestamp()) for name, text in texts.items() if text}


class Wanted(msgspec.Struct, frozen=True):
    """One entry of a desired document: the director's order about one model."""

    model: str
    release: int
    length: int
    sha256: str
    custom: DesiredTarget


class Desired(msgspec.Struct, frozen=True):
    """A desired document whose signature has been verified."""

    device: str
    version: int
    digest: str
    """SHA-256 of the signed part: two documents with one version and different digests are an equivocation."""
    issued: datetime
    expires: datetime
    nonce: str
    wanted: tuple[Wanted, ...]
    withdrawn: Mapping[str, int] = {}
    """Models that the device must no longer run, with the generation of that order."""
    config: RemoteConfig | None = None
    """The remote configuration, which replaces parts of the device's own."""
    erasures: tuple[Erasure, ...] = ()
    """Captured rows that the device must delete."""


class ModelRole(msgspec.Struct, frozen=True):
    """What the release signer of a model has signed."""

    manifests: Mapping[int, Manifest]
    min_release: int
    """Older releases are always refused, even if the director names them."""
