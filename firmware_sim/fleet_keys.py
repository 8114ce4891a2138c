"""The keys and the first metadata of every simulated fleet.

They are public: a seed must give the same world everywhere.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner

from contract.manifest import Manifest
from contract.trust import repository
from contract.trust.chain import trust_root
from contract.trust.documents import role_name
from contract.trust.repository import ONLINE, Online

WORLD_BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
_CEREMONY = WORLD_BEGAN - timedelta(days=1)


def signer(name: str) -> CryptoSigner:
    """Returns the key that belongs to `name`, always the same."""
    return CryptoSigner(
        Ed25519PrivateKey.from_private_bytes(f"edgeward-simulator/{name}".encode().ljust(32, b".")[:32])
    )


ROOTS = tuple(signer(f"root-{number}") for number in (1, 2, 3))
TARGETS, RELEASE = signer("targets"), signer("release")
KEYS = Online(*(signer(name) for name in ONLINE))
KEY_RING = (KEYS.snapshot, KEYS.timestamp, KEYS.director)
FIRST = repository.create(ROOTS, 2, TARGETS, {name: signer(name).public_key for name in ONLINE}, _CEREMONY)
TRUSTED = trust_root(FIRST["1.root.json"])
"""The root of trust of every simulated device."""


def vouched(files: Mapping[str, str], model: str, manifests: Mapping[int, Manifest], now: datetime) -> dict[str, str]:
    """Returns `files` after the release signer has signed these versions, with all metadata that follows from it."""
    found = dict(files)
    if not repository.signers_of(found, model):
        found["targets.json"] = repository.delegate(found, model, [RELEASE.public_key], targets=TARGETS, now=now)
    role = repository.sign_role(found, model, manifests, signers=[RELEASE], now=now)
    return repository.refresh({**found, f"{role_name(model)}.json": role}, KEYS, now)
