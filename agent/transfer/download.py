"""Brings the blobs of one assignment to disk: chunk list, chunks, seal. Then decodes an encoded artifact.

Decides the order, the form in which an artifact is fetched, and when a fetch has failed. Chunks are verified before
they are written to disk. An encoded artifact that cannot be decoded is fetched without encoding. Refuses to know what a
fetch is for.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from agent.core.events import FetchDone, FetchFailed
from agent.core.limits import ENCODINGS
from agent.core.model import Assignment
from agent.flash.store import Store
from agent.transfer.carriers import Carrier, Carriers
from agent.transfer.chunks import MAX_STALLS, STALL_S, Transfer
from contract.blobs import Blob, parse_chunk_list, sole_chunk
from contract.desired import Delivery
from contract.errors import BadInput, Code, EdgewardError, WorldError
from contract.messages import Progress

if TYPE_CHECKING:
    from agent.transfer.unpack import Unpacking

Result = FetchDone | FetchFailed | None
TAKEN_BACK = 32
"""Chunks that have arrived are unsubscribed in groups of this size, because each group costs a packet in both
directions."""


class Pace(msgspec.Struct, frozen=True):
    """The limits that the device's owner has set for downloads."""

    max_bytes_s: float = 0.0
    """Bytes a second; 0: no limit."""
    closed_s: Callable[[], float] = float
    """Returns the seconds until chunks may be fetched; 0: now."""
    spread: float = 0.0
    """The device's own number in [0, 1), which spreads retries."""


class Download:
    """One fetch. Methods of type Result return how the fetch ended, or None while it continues."""

    def __init__(
        self,
        assignment: Assignment,
        *,
        store: Store,
        carriers: Carriers,
        drop: Callable[[str], None],
        pace: Pace = Pace(),  # noqa: B008 - frozen
    ) -> None:
        self.assignment = assignment
        self._store = store
        self._all_carriers = tuple(carriers.in_order(assignment.sources))
        self._carriers = list(self._all_carriers)
        self._drop = drop
        self._pace = pace
        self._waiting = list(reversed(assignment.blobs))
        self._target: Blob | None = None
        self._blob: Blob | None = None
        self._transfer: Transfer | None = None
        self._arrived: list[int] = []
        """Chunks that have arrived and are still subscribed. They are unsubscribed together."""
        self._unpacking: Unpacking | None = None
        self._delivery = assignment.delivery
        self._list_asked_at: float | None = None
        self._list_stalls = 0
        self._opens_at: float | None = None

    @property
    def progress(self) -> Progress:
        """Returns how many bytes of the current blob are on disk."""
        if self._blob is None:
            return Progress(done_bytes=0, total_bytes=0)
        done = self._transfer.have_bytes if self._transfer is not None else 0
        return Progress(done_bytes=done, total_bytes=self._blob.length)

    @property
    def needs_link(self) -> bool:
        """Tells whether the fetch waits for chunks."""
        return self._unpacking is None

    @property
    def transfers(self) -> bool:
        """Tells whether chunks are being received: not outside the allowed hours, and not while the last ones are
        decoded.
        """
        return self._unpacking is None and self._opens_at is None

    def wants(self, digest: str) -> bool:
        """Tells whether the blob `digest` is being fetched now."""
        return self._blob is not None and self._blob.sha256 == digest

    def start(self, now: float) -> Result:
        """Starts with the first blob that is not on disk yet."""
        return self._guarded(lambda: self._next_blob(now))

    def receive(self, digest: str, index: int | None, payload: bytes, now: float) -> Result:
        """Handles a chunk or a chunk list; drops and counts one of another transfer."""
        if not self.wants(digest):
            self._drop("chunks_foreign")
            return None
        if index is None:
            return self._guarded(lambda: self._take_list(payload, now))
        return self._guarded(lambda: self._take_chunk(index, payload, now))

    def tick(self, now: float) -> Result:
        """Continues decoding, or requests chunks that are due or late.

        Ends the fetch as failed when a limit is reached.
        """
        if self._unpacking is not None:
            return self._guarded(lambda: self._unpack(now))
        if self._list_asked_at is not None and now - self._list_asked_at >= STALL_S:
            if len(self._carriers) > 1:
                return self._next_source(now)
            self._list_stalls += 1
            if self._list_stalls >= MAX_STALLS:
                return self._failed(WorldError(Code.TRANSFER_STALLED, "the chunk list does not arrive"))
            return self._ask_again(now)
        return self._tick_transfer(self._transfer, now) if self._transfer is not None else None

    def _tick_transfer(self, transfer: Transfer, now: float) -> Result:
        stalled = transfer.stalled(now)
        if stalled and len(self._carriers) > 1:
            return self._next_source(now)
        if transfer.too_slow(now) or (stalled and transfer.count_stall()):
            return self._failed(WorldError(Code.TRANSFER_STALLED, f"{transfer.have_bytes} bytes so far"))
        return self._ask_again(now) if stalled else self._guarded(lambda: self._ask(now))

    def link_up(self, now: float) -> Result:
        """Continues with all sources, since one that failed may work again. The time without a link is not counted."""
        self.cancel()
        self._carriers = list(self._all_carriers)
        if self._transfer is not None:
            self._transfer.rest(now)
        return self._ask_again(now)

    def _ask_again(self, now: float) -> Result:
        """Requests again after unsubscribing: only then does every broker send retained messages again."""
        self.cancel()
        if self._unpacking is not None:
            return None
        if self._blob is not None and self._transfer is None:
            self._ask_list(self._blob, now)
        return self._guarded(lambda: self._ask(now))

    def cancel(self) -> None:
        """Cancels all requests for chunks."""
        if self._transfer is not None and self._blob is not None:
            self._take_back(self._blob, self._transfer.retract())
        elif self._blob is not None and self._list_asked_at is not None:
            self._carrier.take_back(self._blob, None)
            self._list_asked_at = None

    def _take_back(self, blob: Blob, asked: tuple[int, ...] = ()) -> None:
        """Cancels the requests for chunks that have arrived, and for the chunks `asked`."""
        if indices := (*self._arrived, *asked):
            self._arrived.clear()
            self._carrier.take_back(blob, indices)

    def source_failed(self, source: str, now: float) -> Result:
        """Continues with the next source if this one is in use."""
        if self._carriers[0][0] != source or not source:
            return None
        return self._next_source(now)

    def _next_source(self, now: float) -> Result:
        if self._transfer is not None:
            self._transfer.distrust()
        self.cancel()
        del self._carriers[0]
        self._drop("sources_failed")
        return self._ask_again(now)

    @property
    def _carrier(self) -> Carrier:
        return self._carriers[0][1]

    def wake_at(self) -> float | None:
        """Returns the time at which `tick` is due; None: never."""
        if self._unpacking is not None:
            return 0.0
        if self._list_asked_at is not None:
            return self._list_asked_at + STALL_S
        if self._transfer is None:
            return None
        due = self._transfer.wake_at()
        return max(due, self._opens_at) if due is not None and self._opens_at is not None else due

    def _next_blob(self, now: float) -> Result:
        self._target = self._blob = self._transfer = self._unpacking = self._list_asked_at = None
        while self._waiting:
            target = self._waiting.pop()
            if not self._store.has(target):
                return self._fetch(target, now)
        return FetchDone(self.assignment.digest)

    def _fetch(self, target: Blob, now: float) -> Result:
        """Fetches one blob, in its encoded form if this device can decode it."""
        delivery = self._usable(target)
        self._target = target
        self._blob = blob = target if delivery is None else delivery.blob
        if delivery is not None and self._store.has(blob):
            return self._begin_unpacking(delivery, target)
        self._store.reserve(*((blob,) if delivery is None else (blob, target)))
        if (digests := sole_chunk(blob)) is not None:
            return self._begin(blob, digests, now)
        self._ask_list(blob, now)
        return None

    def _usable(self, target: Blob) -> Delivery | None:
        found = self._delivery
        if found is None or target != self.assignment.manifest.artifact or found.encoding not in ENCODINGS:
            return None
        return found if not found.base or self._store.holds(found.base) else None

    def _begin_unpacking(self, delivery: Delivery, target: Blob) -> Result:
        from agent.transfer.unpack import Unpacking  # lzma is imported only if something is unpacked

        self._transfer = None
        self._unpacking = Unpacking(self._store, delivery, target)
        return None

    def _unpack(self, now: float) -> Result:
        assert self._unpacking is not None
        assert self._target is not None
        assert self._blob is not None
        try:
            if not self._unpacking.go_on():
                return None
        except EdgewardError as error:
            if error.code not in (Code.ENCODING_INVALID, Code.DIGEST_MISMATCH):
                raise
            self._drop("encodings_invalid")
            self._delivery = None
            self._waiting.append(self._target)
        self._store.discard(self._blob)
        return self._next_blob(now)

    def _ask_list(self, blob: Blob, now: float) -> None:
        self._list_asked_at = now
        self._carrier.ask(blob, None)

    def _take_list(self, payload: bytes, now: float) -> Result:
        if self._list_asked_at is None or self._blob is None:
            return None
        try:
            digests = parse_chunk_list(payload, self._blob)
        except BadInput:
            self._drop("chunks_invalid")
            return self._next_source(now) if len(self._carriers) > 1 else None
        self._list_asked_at = None
        self._carrier.take_back(self._blob, None)
        return self._begin(self._blob, digests, now)

    def _begin(self, blob: Blob, digests: tuple[bytes, ...], now: float) -> Result:
        self._transfer = Transfer(self._store.follow_part(blob, digests), now, self._pace.max_bytes_s)
        return self._ask(now)

    def _take_chunk(self, index: int, payload: bytes, now: float) -> Result:
        transfer, blob = self._transfer, self._blob
        if transfer is None or blob is None or not transfer.arrived(index, payload, now):
            return self._refuse(now, lies=transfer is not None and transfer.awaits(index))
        self._arrived.append(index)
        try:
            for each, chunk in transfer.verified():
                self._store.write_chunk(blob, each, chunk)
        except BadInput:
            return self._refuse(now, lies=True)
        return self._ask(now)

    def _refuse(self, now: float, *, lies: bool) -> Result:
        """Drops a chunk. If a source sent a wrong one (`lies`), the next source is used, if there is one."""
        self._drop("chunks_invalid")
        return self._next_source(now) if lies and len(self._carriers) > 1 else None

    def _ask(self, now: float) -> Result:
        if self._transfer is None or self._blob is None:
            return None
        if self._transfer.done:
            self._take_back(self._blob)
            return self._complete(now)
        closed_s = self._pace.closed_s()
        if closed_s or self._opens_at is not None:
            self._transfer.rest(now)
        self._opens_at = now + closed_s if closed_s else None
        if not closed_s and (wanted := self._transfer.ask(now)):
            if len(self._arrived) >= TAKEN_BACK:
                self._take_back(self._blob)
            self._carrier.ask(self._blob, wanted)
        return None

    def _complete(self, now: float) -> Result:
        assert self._blob is not None
        self._store.seal(self._blob, verified=True)
        if self._target is not None and self._blob != self._target and self._delivery is not None:
            return self._begin_unpacking(self._delivery, self._target)
        return self._next_blob(now)

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
        self._transfer = None  # the transfer may hold verified chunks that the disk refused
        spread = self._pace.spread
        return FetchFailed(self.assignment.digest, error.code, error.detail, retryable=True, spread=spread)
