"""The messages that the broker must hold: signed documents and blobs as retained chunks.

Decides which messages, and not when or over which connection. Blobs of a version are published before the role that
names it, the role before the desired documents that need it.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import BinaryIO, Protocol

from contract import topics
from contract.blobs import Blob, Followed, chunk_list, chunk_list_of, parse_chunk_list, sha256_hex, split
from contract.desired import DesiredTarget
from contract.erasure import MAX_ERASURES
from contract.errors import BadInput, Code
from contract.manifest import Manifest
from contract.protocol import MAX_VERSIONS_PUBLISHED
from contract.trust.documents import sign_desired
from contract.trust.verified import Wanted
from controller.fleet.twin import DOCUMENT_LIFE_S, Assigned, Twin
from controller.registry.registry import Registry
from controller.trust.metadata import TrustMetadata


@dataclass(frozen=True, slots=True)
class Retained:
    """A message that the broker keeps; an empty payload deletes it."""

    topic: str
    payload: bytes


class Blobs(Protocol):
    """Files by digest."""

    def unverified(self, digest: str) -> AbstractContextManager[BinaryIO]:
        """The open file; BadInput `store_corrupt` where it is missing or cannot be read."""
        ...


class Publisher:
    """Builds messages from the registry."""

    def __init__(self, registry: Registry, blobs: Blobs, trust_metadata: TrustMetadata) -> None:
        self._registry = registry
        self._blobs = blobs
        self._trust_metadata = trust_metadata

    def trust(self, models: Iterable[str]) -> Iterator[Retained]:
        """Returns the documents that devices follow: the roles of these models, the bundle and every root."""
        for topic, payload in self._trust_metadata.messages(models).items():
            yield Retained(topic, payload)

    @property
    def director(self) -> str:
        """Id of the key that signs desired documents."""
        return self._trust_metadata.director.public_key.keyid

    def vouch(self, model: str, in_use: Iterable[int], now: datetime) -> bool:
        """Signs the role of a model if its key is here; False if a person must sign."""
        return self._trust_metadata.vouch(model, self.manifests(model, in_use), now)

    def manifests(self, model: str, in_use: Iterable[int]) -> dict[int, Manifest]:
        """Returns the content of a role: the newest versions that passed their gates, and older ones that
        devices run.
        """
        passed = {version.release: version.manifest for version in self._registry.versions(model) if version.passed}
        listed = frozenset(sorted(passed)[-MAX_VERSIONS_PUBLISHED:]) | frozenset(in_use)
        return {release: manifest for release, manifest in passed.items() if release in listed}

    def desired(self, twin: Twin) -> Retained:
        """Returns the signed desired document of a device: the same bytes for the same twin, whenever it
        is published.
        """
        issued = datetime.fromtimestamp(twin.issued_at, UTC)
        wanted = []
        for model, assigned in sorted(twin.desired.items()):
            artifact = self.form(model, assigned).artifact
            custom = DesiredTarget(
                model=model,
                generation=assigned.generation,
                rollout=assigned.rollout,
                policy=assigned.policy,
                delivery=assigned.delivery,
                sources=assigned.sources,
            )
            wanted.append(Wanted(model, assigned.release, artifact.length, artifact.sha256, custom))
        document = sign_desired(
            twin.device,
            tuple(wanted),
            version=twin.document_version,
            issued=issued,
            expires=issued + timedelta(seconds=DOCUMENT_LIFE_S),
            signer=self._trust_metadata.director,
            nonce=twin.answered,
            withdrawn=twin.withdrawn,
            config=twin.config,
            erasures=twin.erasures[:MAX_ERASURES],
        )
        return Retained(topics.desired(twin.device), document)

    def chunks(self, blob: Blob) -> Iterator[Retained]:
        """The messages of a blob in the registry, each read only when it is sent. BadInput `store_corrupt`, at once."""
        with self._blobs.unverified(blob.sha256) as file:
            listed = chunk_list_of(file, blob.chunk_bytes)
        if sha256_hex(listed) != blob.chunks_sha256:
            raise damaged(blob)
        return self._read(blob, listed)

    def _read(self, blob: Blob, listed: bytes) -> Iterator[Retained]:
        """The list, then every chunk, compared with the list: the file may have been damaged since."""
        yield Retained(topics.chunk_list(blob.sha256), listed)
        followed = Followed(blob, parse_chunk_list(listed, blob))
        with self._blobs.unverified(blob.sha256) as file:
            for index in range(blob.chunk_count):
                chunk = file.read(blob.chunk_bytes)
                if not followed.follow(chunk):
                    raise damaged(blob)
                yield Retained(topics.chunk(blob.sha256, index), chunk)

    def form(self, model: str, assigned: Assigned) -> Manifest:
        """Returns the manifest of a version in the chosen form."""
        manifest = self._registry.version(model, assigned.release).manifest
        return manifest.form(assigned.digest) or manifest.forms[0]


def chunk_messages(blob: Blob, data: bytes) -> Iterator[Retained]:
    """Returns the chunk list, then every chunk; the last chunk shows whether the broker holds all."""
    yield Retained(topics.chunk_list(blob.sha256), chunk_list(data, blob.chunk_bytes))
    for index, chunk in enumerate(split(data, blob.chunk_bytes)):
        yield Retained(topics.chunk(blob.sha256, index), chunk)


def damaged(blob: Blob) -> BadInput:
    """The fault of a blob whose bytes are not those that its manifest names."""
    return BadInput(Code.STORE_CORRUPT, f"blob {blob.sha256[:12]} is damaged; restore it from a backup")


def sentinel(blob: Blob) -> str:
    """Returns the topic of the last chunk. It is published last, so its presence shows that the others are there."""
    return topics.chunk(blob.sha256, blob.chunk_count - 1)


def retraction(blob: Blob) -> Iterator[Retained]:
    """Returns empty messages that free the broker's memory."""
    yield Retained(topics.chunk_list(blob.sha256), b"")
    for index in range(blob.chunk_count):
        yield Retained(topics.chunk(blob.sha256, index), b"")


def farewell(device: str) -> Iterator[Retained]:
    """Returns empty messages that delete what the broker keeps for a device, and the device's own retained messages."""
    yield Retained(topics.desired(device), b"")
    yield Retained(topics.presence(device), b"")


def blobs_in_use(twins: Mapping[str, Twin], publisher: Publisher) -> dict[str, Blob]:
    """Returns the blobs that any desired document needs, by digest: artifacts, golden sets, and encoded forms.

    A version that the registry lacks needs none: the document that names it cannot be made either, and that is
    reported.
    """
    wanted = [(model, each) for twin in twins.values() for model, each in twin.desired.items()]
    named = {(model, each.release, each.digest): each for model, each in wanted}
    packed = [each.delivery.blob for _, each in wanted if each.delivery is not None]
    found = {blob.sha256: blob for blob in packed}
    for key in sorted(named):
        with suppress(BadInput):
            form = publisher.form(key[0], named[key])
            found |= {blob.sha256: blob for blob in (form.artifact, form.golden.blob)}
    return found
