"""Brings the blobs of one assignment to disk: the chunk list first, then chunks in windows, then the seal.

Decides the order, and when a fetch has failed. Chunks are verified before they touch the disk.
Refuses to know what a fetch is for.
"""

from collections.abc import Callable, Iterable

from agent.core.events import FetchDone, FetchFailed
from agent.core.model import Assignment
from agent.ports import Link
from agent.store import Store
from agent.transfer import MAX_STALLS, STALL_S, Transfer
from contract import topics
from contract.blobs import Blob, parse_chunk_list, sole_chunk
from contract.errors import BadInput, Code, EdgewardError, WorldError

Result = FetchDone | FetchFailed | None


class Download:
    """One fetch. Every method returns how the fetch ended, or None while it goes on."""

    def __init__(self, assignment: Assignment, *, store: Store, link: Link, drop: Callable[[str], None]) -> None:
        self.assignment = assignment
        self._store = store
        self._link = link
        self._drop = drop
        self._waiting = list(reversed(assignment.blobs))
        self._blob: Blob | None = None
        self._transfer: Transfer | None = None
        self._list_asked_at: float | None = None
        self._list_stalls = 0

    def wants(self, digest: str) -> bool:
        """Whether the blob `digest` is the one under way."""
        return self._blob is not None and self._blob.sha256 == digest

    def start(self, now: float) -> Result:
        """Begin, or go on with the next blob that is not on disk yet."""
        return self._guarded(lambda: self._next_blob(now))

    def receive(self, digest: str, index: int | None, payload: bytes, now: float) -> Result:
        """Take a chunk or a chunk list off the wire; what does not belong here is dropped and counted."""
        if not self.wants(digest):
            self._drop("chunks_foreign")
            return None
        if index is None:
            return self._guarded(lambda: self._take_list(payload, now))
        return self._guarded(lambda: self._take_chunk(index, payload, now))

    def tick(self, now: float) -> Result:
        """Ask again for what did not come; give up at the limit."""
        if self._list_asked_at is not None and now - self._list_asked_at >= STALL_S:
            self._list_stalls += 1
            if self._list_stalls >= MAX_STALLS:
                return self._failed(WorldError(Code.TRANSFER_STALLED, "the chunk list does not come"))
            return self.link_up(now)
        if self._transfer is not None and self._transfer.stalled(now):
            if self._transfer.count_stall():
                return self._failed(WorldError(Code.TRANSFER_STALLED, f"{self._transfer.have_bytes} bytes so far"))
            return self.link_up(now)
        return None

    def link_up(self, now: float) -> Result:
        """Subscribe again, after unsubscribing: only then does every broker send what it retains."""
        self.cancel()
        if self._blob is not None and self._transfer is None:
            self._ask_list(self._blob, now)
        return self._ask(now)

    def cancel(self) -> None:
        """End all subscriptions."""
        if self._transfer is not None and self._blob is not None:
            asked = self._transfer.retract()
            self._unsubscribe(topics.chunk(self._blob.sha256, index) for index in asked)
        elif self._blob is not None and self._list_asked_at is not None:
            self._unsubscribe([topics.chunk_list(self._blob.sha256)])
            self._list_asked_at = None

    def wake_at(self) -> float | None:
        """When `tick` is due."""
        if self._list_asked_at is not None:
            return self._list_asked_at + STALL_S
        return self._transfer.wake_at() if self._transfer is not None else None

    def _next_blob(self, now: float) -> Result:
        self._blob = self._transfer = self._list_asked_at = None
        while self._waiting:
            blob = self._waiting.pop()
            if self._store.has(blob):
                continue
            self._store.reserve(blob)
            self._blob = blob
            if (digests := sole_chunk(blob)) is not None:
                return self._begin(blob, digests, now)
            self._ask_list(blob, now)
            return None
        return FetchDone(self.assignment.digest)

    def _ask_list(self, blob: Blob, now: float) -> None:
        self._list_asked_at = now
        self._link.subscribe([topics.chunk_list(blob.sha256)])

    def _take_list(self, payload: bytes, now: float) -> Result:
        if self._list_asked_at is None or self._blob is None:
            return None
        digests = parse_chunk_list(payload, self._blob)
        self._list_asked_at = None
        self._link.unsubscribe([topics.chunk_list(self._blob.sha256)])
        return self._begin(self._blob, digests, now)

    def _begin(self, blob: Blob, digests: tuple[bytes, ...], now: float) -> Result:
        self._transfer = Transfer(blob, digests, self._store.chunks_on_disk(blob, digests), now)
        return self._ask(now)

    def _take_chunk(self, index: int, payload: bytes, now: float) -> Result:
        transfer = self._transfer
        if transfer is None or self._blob is None or not transfer.accepts(index, payload):
            self._drop("chunks_invalid")
            return None
        self._store.write_chunk(self._blob, index, payload)
        transfer.arrived(index, now)
        self._link.unsubscribe([topics.chunk(self._blob.sha256, index)])
        return self._ask(now)

    def _ask(self, now: float) -> Result:
        if self._transfer is None or self._blob is None:
            return None
        if self._transfer.done:
            self._store.seal(self._blob)
            return self._next_blob(now)
        wanted = self._transfer.ask(now)
        if wanted:
            self._link.subscribe([topics.chunk(self._blob.sha256, index) for index in wanted])
        return None

    def _unsubscribe(self, names: Iterable[str]) -> None:
        if wanted := list(names):
            self._link.unsubscribe(wanted)

    def _guarded(self, act: Callable[[], Result]) -> Result:
        try:
            return act()
        except BadInput:
            self._drop("chunks_invalid")
            return None
        except WorldError as error:
            return self._failed(error)

    def _failed(self, error: EdgewardError) -> FetchFailed:
        self.cancel()
        return FetchFailed(self.assignment.digest, error.code, error.detail, retryable=True)
