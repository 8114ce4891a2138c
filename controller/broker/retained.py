"""Keeps the broker's retained messages equal to the tables, even if the broker loses some.

After every connection documents are published again (they are small), and each blob's list and last chunk are
looked up. A blob of which one is missing is published again, and also one that a device cannot fetch. Blobs that no
desired document needs any more are deleted. A document or blob that cannot be made is left out, named in `skipped`
and tried again: a bad document affects one device. Messages that other clients retain in its place, or where no
client may retain, are repaired: `foreign` decides when.
"""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import Protocol

from msgspec.structs import replace

from contract import topics
from contract.blobs import Blob, sha256_hex
from contract.errors import BadInput
from controller.broker.foreign import EVERYTHING, Foreign
from controller.broker.messages import Publisher, Retained, blobs_in_use, farewell, retraction
from controller.broker.skipped import BLOB, Skipped
from controller.reconcile.durable import FleetRecords
from controller.reconcile.world import Durable

MAX_PRESENCE_BYTES = 4096
"""The largest message that a device may retain: four of its longest texts. Its content is decoded elsewhere."""
DOUBT_S, DOUBT_MAX_S = 120.0, 7200.0
"""Seconds between two times that a blob is published again because a device cannot fetch it, the first time and after
many: a slow link is no damage, and one device must not keep the broker busy."""
READ_AT_ONCE_BYTES = 4 * 1024**2
"""The bytes of a blob that are verified between two turns of the event loop: 10 ms."""
_DESIRED = "desired "

LookForBlobs = Callable[[Sequence[Blob]], Awaitable[set[str]]]
"""Returns the digests of those blobs that the broker does not hold."""

_log = logging.getLogger("edgeward.retained")


class Link(Protocol):
    """A connection to the broker."""

    def retain(self, messages: Iterable[Retained]) -> None:
        """Queues retained messages."""
        ...


class RetainedState:
    """What one controller's broker holds for its devices."""

    def __init__(
        self,
        durable: Durable,
        publisher: Publisher,
        records: FleetRecords,
        skipped: Skipped,
        foreign: Foreign,
        *,
        lost: LookForBlobs,
        lent: Mapping[str, Blob] = MappingProxyType({}),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._durable = durable
        self._publisher = publisher
        self._records = records
        self._trust: dict[str, Retained] = {}
        """Trust metadata by topic, as it was last published."""
        self._lost = lost
        self._lent = lent
        """Blobs of no version that the broker holds for a while, by digest."""
        self._director = ""
        """Id of the key that signed the documents on the broker; empty until all were published."""
        self._clock = clock
        self.link: Link | None = None
        self.restore_needed = False
        """Whether the broker may have lost everything, because it was unreachable."""
        self._doubted: set[str] = set()
        """Blobs that devices could not fetch: the broker's copies may be damaged."""
        self._doubted_at: dict[str, tuple[float, float]] = {}
        """The time of the last repeated publication, and the seconds until the next one may follow, by digest."""
        self.skipped = skipped
        self.foreign = foreign

    def doubt(self, device: str, model: str) -> None:
        """Notes that a device cannot fetch a version that it must run: its blobs are published again, each at
        intervals.

        Another client may have replaced a chunk unnoticed, and no list shows that.
        """
        twin, now = self._durable.twins.get(device), self._clock()
        assigned = twin.desired.get(model) if twin is not None else None
        if twin is None or assigned is None:
            return
        for digest in blobs_in_use({device: replace(twin, desired={model: assigned})}, self._publisher):
            at, wait_s = self._doubted_at.get(digest, (-math.inf, 0.0))
            if now - at >= wait_s:
                self._doubted_at[digest] = now, min(max(2 * wait_s, DOUBT_S), DOUBT_MAX_S)
                self._doubted.add(digest)

    def saw(self, topic: str, payload: bytes, *, retained: bool) -> bool:
        """Returns whether a message is about retained messages and not a device's message to be read.

        Notes messages that others retain on topics of the controller, and those that devices retain besides
        presence.
        """
        if not topics.is_up(topic):
            if retained:
                self.foreign.saw(topic, payload)
            return True
        may_stay = topic.endswith(f"/{topics.UP_PRESENCE}") and len(payload) <= MAX_PRESENCE_BYTES
        stray = retained and bool(payload) and not may_stay
        if stray:
            self.foreign.saw(topic, None)
        return stray

    def put_right(self) -> bool:
        """Publishes messages again that others have overwritten, and deletes those that may not be retained.

        True: so many are foreign that everything must be published again.
        """
        due = self.foreign.due()
        chunks = self._chunks_of(frozenset(topic for topic, _ in due))
        for topic, digest in due:
            if topic == EVERYTHING:
                self.foreign.put_right(topic)
                _log.error("others write over more topics than are counted: everything is published again")
                return True
            right = self._right(topic, chunks)
            if right is None or sha256_hex(right.payload) == digest:
                self.foreign.leave(topic)
                continue
            times = self.foreign.put_right(topic)
            _log.error("%s was retained by somebody else (%d times): put right", topic, times)
            self._retain([right])
        return False

    def _right(self, topic: str, chunks: Mapping[str, Retained]) -> Retained | None:
        """Returns the message that belongs on a topic, empty for none; None if that is not known, or cannot be made."""
        if (device := topics.parse_desired(topic)) is not None:
            twin = self._durable.twins.get(device)
            if twin is None or not twin.document_version:
                return Retained(topic, b"")
            with suppress(BadInput):
                return self._publisher.desired(twin)
            return None
        if topics.is_up(topic):
            return Retained(topic, b"")
        if topics.parse_blob(topic) is not None:
            return chunks.get(topic)
        models = {model for twin in self._durable.twins.values() for model in twin.desired}
        return next((message for message in self._publisher.trust(models) if message.topic == topic), None)

    def _chunks_of(self, wanted: frozenset[str]) -> dict[str, Retained]:
        """By topic, those messages of published blobs that are wanted: a blob is read once, and only these are kept."""
        found: dict[str, Retained] = {}
        for digest in {name[0] for topic in wanted if (name := topics.parse_blob(topic)) is not None}:
            blob = self._records.published().get(digest)
            with suppress(BadInput):
                chunks = self._publisher.chunks(blob) if blob is not None else ()
                found |= {message.topic: message for message in chunks if message.topic in wanted}
        return found

    async def publish(self, devices: frozenset[str], *, again: bool, trust_changed: bool) -> None:
        """Publishes what these devices need, blobs and trust first; everything after the broker was unreachable.

        `again`: also everything that is retained for them, changed or not.
        """
        if self.restore_needed:
            self.restore_needed = False  # reset first: the broker may become unreachable again during the work
            try:
                await self.restore()
            except Exception:
                self.restore_needed = True
                raise
        elif devices:
            if again:
                self.forget_published()
            await self.ensure_blobs()
            self.publish_for(devices)
        elif trust_changed:
            self.publish_trust({model for twin in self._durable.twins.values() for model in twin.desired})
        if trust_changed:
            self.follow_director()
        if self._doubted:
            await self._publish_doubted()
        await self.try_again()

    async def _publish_doubted(self) -> None:
        held = self._records.published().keys() & self._doubted
        self._doubted.clear()
        forget = self._clock() - 2 * DOUBT_MAX_S
        self._doubted_at = {digest: known for digest, known in self._doubted_at.items() if known[0] > forget}
        for digest in sorted(held):
            _log.warning("a device cannot fetch blob %s: publishing it again", digest[:12])
        self._records.save_published([], taken_back=sorted(held))
        await self.ensure_blobs()

    async def restore(self) -> None:
        """Brings a broker that has just (re)connected up to date."""
        await self.ensure_blobs(check=True)
        self.forget_published()
        models = {model for twin in self._durable.twins.values() for model in twin.desired}
        self.publish_trust(models)
        self._publish_all_desired()
        for device in self._durable.retired:
            self._retain(farewell(device))

    def publish_trust(self, models: Iterable[str]) -> None:
        """Publishes the trust bundle and the roles of these models, if they have changed since the last time."""
        changed = [message for message in self._publisher.trust(models) if self._trust.get(message.topic) != message]
        self._trust.update({message.topic: message for message in changed})
        self._retain(changed)

    def follow_director(self) -> None:
        """Publishes every document again if another key signs now: a device that joins later refuses the old ones."""
        if self._director != self._publisher.director:
            self._publish_all_desired()

    def _publish_all_desired(self) -> None:
        self._director = self._publisher.director
        self.publish_desired(device for device, twin in self._durable.twins.items() if twin.document_version)

    async def ensure_blobs(self, *, check: bool = False) -> None:
        """Publishes blobs that are needed and missing; deletes those that are not needed any more."""
        wanted = {**blobs_in_use(self._durable.twins, self._publisher), **self._lent}
        published = self._records.published()
        self.skipped.keep_only(BLOB, frozenset(wanted))
        held = [wanted[digest] for digest in wanted if digest in published]
        if lost := await self._lost(held) if check and held else set():
            self._records.save_published([], taken_back=sorted(lost))  # an unreadable blob is tried again too
            published = self._records.published()
        for digest, blob in wanted.items():
            if digest not in published:
                await self._publish_blob(blob)
        for digest in published.keys() - wanted.keys():
            self._retain(retraction(published[digest]))
            self._records.save_published([], taken_back=[digest])

    def publish_desired(self, devices: Iterable[str]) -> None:
        """Publishes the desired documents of these devices; a fault in one does not affect the others."""
        for device in devices:
            try:
                self._retain([self._publisher.desired(self._durable.twins[device])])
                self.skipped.forget(_DESIRED + device)
            except BadInput as error:
                self.skipped.failed(_DESIRED + device, error, self._clock())

    async def try_again(self) -> None:
        """Publishes messages that were left out some time ago, if they can be made now."""
        now = self._clock()
        self.skipped.keep_only(_DESIRED, frozenset(self._durable.twins))
        if self.skipped.due(BLOB, now):
            await self.ensure_blobs()
        if devices := self.skipped.due(_DESIRED, now):
            self.publish_for(devices)

    def forget_published(self) -> None:
        """Publishes trust again next time even if it has not changed: a device may have missed it."""
        self._trust.clear()

    def publish_for(self, devices: Iterable[str]) -> None:
        """Publishes the roles that these devices' documents need, then the documents."""
        named = sorted(device for device in devices if device in self._durable.twins)
        self.publish_trust({model for device in named for model in self._durable.twins[device].desired})
        self.publish_desired(named)

    def _retain(self, messages: Iterable[Retained]) -> None:
        assert self.link is not None
        self.link.retain(messages)

    async def _publish_blob(self, blob: Blob) -> None:
        name, now = BLOB + blob.sha256, self._clock()
        if self.skipped.rests(name, now):
            return
        try:
            chunks = await self._verified(blob)
        except BadInput as error:
            self.skipped.failed(name, error, now)
            return
        self.skipped.forget(name)
        self._records.save_published([blob])
        self._retain(chunks)

    async def _verified(self, blob: Blob) -> Iterator[Retained]:
        """The messages of a blob whose file was read and is intact. A large one is read in a thread: it takes
        seconds.
        """
        if blob.length <= READ_AT_ONCE_BYTES:
            return self._publisher.chunks(blob)
        return await asyncio.to_thread(self._publisher.chunks, blob)
