"""What the broker must hold: signed documents and blobs as retained chunks. Turns tables into messages.

Decides which messages, never when or over which connection. Blobs of a version come before the role that names it, the
role before the desired documents that need it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

import msgspec
from securesystemslib.signer import Signer

from contract import topics
from contract.blobs import Blob, chunk_list, split
from contract.desired import DesiredTarget, TrialPolicy
from contract.manifest import Manifest
from contract.protocol import MAX_VERSIONS_PUBLISHED
from contract.trust import Wanted, sign_desired, sign_model_role
from controller.fleet.twin import DOCUMENT_LIFE_S, Twin
from controller.registry.registry import Registry

ROLE_DAYS = 180


@dataclass(frozen=True, slots=True)
class Retained:
    """A message that the broker keeps; an empty payload takes it back."""

    topic: str
    payload: bytes


class Blobs(Protocol):
    """Where bytes are found by digest."""

    def get(self, digest: str) -> bytes:
        """The bytes."""
        ...


class Publisher:
    """Builds messages from the registry."""

    def __init__(self, registry: Registry, blobs: Blobs, signer: Signer) -> None:
        self._registry = registry
        self._blobs = blobs
        self._signer = signer
        self._roles: dict[str, tuple[frozenset[int], datetime, bytes]] = {}

    def model_role(self, model: str, wanted: Iterable[int], now: datetime) -> Retained:
        """The signed role of a model: its newest released versions, and older ones that somebody runs.

        The same bytes as before while neither the versions nor half of its life have changed: devices skip those.
        """
        released = {version.release: version.manifest for version in self._registry.versions(model) if version.released}
        listed = frozenset(sorted(released)[-MAX_VERSIONS_PUBLISHED:]) | frozenset(wanted)
        expires = now + timedelta(days=ROLE_DAYS)
        known = self._roles.get(model)
        if known is None or known[0] != listed or expires - known[1] > timedelta(days=ROLE_DAYS / 2):
            manifests = {release: manifest for release, manifest in released.items() if release in listed}
            document = sign_model_role(model, manifests, version=max(released), expires=expires, signer=self._signer)
            self._roles[model] = known = (listed, expires, document)
        return Retained(topics.model_role(model), known[2])

    def desired(self, twin: Twin) -> Retained:
        """The signed desired document of a device: the same bytes for the same twin, whenever it is published."""
        issued = datetime.fromtimestamp(twin.issued_at, UTC)
        wanted = []
        for model, assigned in sorted(twin.desired.items()):
            artifact = self._registry.version(model, assigned.release).manifest.artifact
            policy = msgspec.convert(assigned.policy, TrialPolicy)
            custom = DesiredTarget(slot=model, generation=assigned.generation, rollout=assigned.rollout, policy=policy)
            wanted.append(Wanted(model, assigned.release, artifact.length, artifact.sha256, custom))
        document = sign_desired(
            twin.device,
            tuple(wanted),
            version=twin.document_version,
            issued=issued,
            expires=issued + timedelta(seconds=DOCUMENT_LIFE_S),
            signer=self._signer,
        )
        return Retained(topics.desired(twin.device), document)

    def chunks(self, blob: Blob) -> Iterator[Retained]:
        """The chunk list, then every chunk; the last one is the sentinel that shows whether the broker holds all."""
        data = self._blobs.get(blob.sha256)
        yield Retained(topics.chunk_list(blob.sha256), chunk_list(data, blob.chunk_bytes))
        for index, chunk in enumerate(split(data, blob.chunk_bytes)):
            yield Retained(topics.chunk(blob.sha256, index), chunk)

    def manifest(self, model: str, release: int) -> Manifest:
        """The manifest of a version."""
        return self._registry.version(model, release).manifest


def sentinel(blob: Blob) -> str:
    """Topic of the last chunk: published last, so that its presence vouches for the others."""
    return topics.chunk(blob.sha256, blob.chunk_count - 1)


def retraction(blob: Blob) -> Iterator[Retained]:
    """Empty messages that free the broker's memory."""
    yield Retained(topics.chunk_list(blob.sha256), b"")
    for index in range(blob.chunk_count):
        yield Retained(topics.chunk(blob.sha256, index), b"")


def blobs_in_use(twins: Mapping[str, Twin], publisher: Publisher) -> dict[str, Blob]:
    """Blobs that some desired document needs, by digest."""
    named = {(model, assigned.release) for twin in twins.values() for model, assigned in twin.desired.items()}
    found = {}
    for model, release in sorted(named):
        manifest = publisher.manifest(model, release)
        for blob in (manifest.artifact, manifest.golden.blob):
            found[blob.sha256] = blob
    return found
