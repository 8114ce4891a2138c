"""Prepares encodings of a version: one without a base, and one for each version that most devices run now.

Decides which pairs are encoded. Runs the encoder in a child, one at a time. If an encoding is not ready when a
device needs it, the artifact is sent without encoding. Refuses to know the encoding.
"""

import asyncio
import logging
import sys
import tempfile
from collections import Counter
from pathlib import Path

from contract.blobs import Blob, describe_file
from contract.desired import Delivery
from contract.encoding import ENCODING
from contract.errors import EdgewardError
from contract.manifest import Manifest
from controller.background import Background
from controller.reconcile.durable import FleetRecords
from controller.reconcile.world import Durable
from controller.registry.blobs import BlobStore

MAX_BASES = 4
"""The number of versions, the most common on the fleet's devices, that are used as a base."""
MAX_ENCODE_BYTES = 512 << 20
MIN_ENCODE_BYTES = 4096
"""Smaller artifacts already fit into one or two packets."""
TIMEOUT_S = 600.0
WAIT_S = 30.0
"""The most seconds for which the start of a rollout waits for its encodings."""
WORTH_IT = 0.95
"""The largest fraction of the artifact's size at which an encoding is kept."""

SMALL_BASE = 0.05
"""A base below this fraction of the artifact's size saves at most that fraction, but its search takes as long."""

_log = logging.getLogger("edgeward.deliveries")


class Deliveries:
    """The encodings of one controller. `chunk_bytes` is the size of the chunks in which they are sent."""

    def __init__(self, durable: Durable, records: FleetRecords, blobs: BlobStore, chunk_bytes: int) -> None:
        self._durable = durable
        self._records = records
        self._blobs = blobs
        self._chunk_bytes = chunk_bytes
        self._lock = asyncio.Lock()
        self._background = Background()

    def begin(self, model: str, manifest: Manifest) -> asyncio.Task[None]:
        """Prepares a version for the current fleet in the background. Returns the task."""
        return self._background.begin(self._prepare(model, manifest))

    def of(self, manifest: Manifest) -> tuple[Delivery, ...]:
        """Returns the deliveries that have been prepared for a version."""
        known = self._durable.deliveries
        return tuple(each for form in manifest.forms for each in known.get(form.artifact.sha256, {}).values())

    @property
    def busy(self) -> bool:
        """Tells whether the encoder is running."""
        return bool(self._background.tasks)

    async def ready(self, model: str, manifest: Manifest) -> None:
        """Prepares a version before the first device gets it. Returns after `WAIT_S` in any case."""
        await asyncio.wait({self.begin(model, manifest)}, timeout=WAIT_S)

    async def stop(self) -> None:
        """Cancels encodings that are not finished."""
        await self._background.stop()

    async def _prepare(self, model: str, manifest: Manifest) -> None:
        async with self._lock:
            for artifact, base in self._missing(model, manifest):
                try:
                    await self._encode(artifact, base)
                except (EdgewardError, OSError, TimeoutError) as error:
                    _log.warning("%s is sent without encoding: %s", artifact[:12], error)

    def _missing(self, model: str, manifest: Manifest) -> list[tuple[str, str]]:
        """Returns each (artifact, base) that has not been tried yet."""
        states = (twin.reported.get(model) for twin in self._durable.twins.values())
        stable = Counter(state.stable.digest for state in states if state is not None and state.stable is not None)
        bases = ["", *(digest for digest, _ in stable.most_common(MAX_BASES))]
        tried = self._records.encoded()
        return [
            (form.artifact.sha256, base)
            for form in manifest.forms
            if MIN_ENCODE_BYTES <= form.artifact.length <= MAX_ENCODE_BYTES
            for base in bases
            if base != form.artifact.sha256 and (form.artifact.sha256, base) not in tried
        ]

    async def _encode(self, artifact: str, base: str) -> None:
        target_bytes, delivery = self._blobs.path(artifact).stat().st_size, None
        if base and self._blobs.path(base).stat().st_size < SMALL_BASE * target_bytes:
            self._records.save_delivery(artifact, base, None)
            return
        target = await asyncio.to_thread(self._verified, artifact)
        before = await asyncio.to_thread(self._verified, base) if base else None
        with tempfile.TemporaryDirectory(prefix="edgeward-encode-") as scratch:
            packed = Path(scratch) / "packed"
            await _run_child(target, before, packed)
            packed_bytes = packed.stat().st_size
            if packed_bytes < WORTH_IT * target_bytes:
                blob = await asyncio.to_thread(_described, packed, self._chunk_bytes)
                self._blobs.take(packed, blob.sha256)
                delivery = Delivery(encoding=ENCODING, blob=blob, base=base)
                self._durable.deliveries.setdefault(artifact, {})[base] = delivery
        self._records.save_delivery(artifact, base, delivery)
        _log.info("%s from %s: %d of %d bytes", artifact[:12], base[:12] or "nothing", packed_bytes, target_bytes)

    def _verified(self, digest: str) -> Path:
        """Returns the path of a blob whose bytes have the right digest. BadInput `store_corrupt`."""
        with self._blobs.opened(digest):
            return self._blobs.path(digest)


def _described(path: Path, chunk_bytes: int) -> Blob:
    with path.open("rb") as file:
        return describe_file(file, chunk_bytes)


async def _run_child(target: Path, base: Path | None, packed: Path) -> None:
    files = [str(target), str(base or "-"), str(packed)]
    child = await asyncio.create_subprocess_exec(sys.executable, "-I", "-m", "controller.encode.child", *files)
    try:
        code = await asyncio.wait_for(child.wait(), TIMEOUT_S)
    except (TimeoutError, asyncio.CancelledError):
        child.kill()
        await child.wait()
        raise
    if code:
        raise OSError(f"the encoder ended with {code}")
