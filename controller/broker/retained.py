"""Keeps the broker's retained state equal to the tables, whatever the broker forgets.

After every connection documents are published again (they are small) and each blob's sentinel chunk is looked for; a
blob whose sentinel is missing is published again. Blobs that no desired document needs any more are taken back.
What cannot be made is left out by itself, named in `skipped` and tried again: a bad document costs one device.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable

from contract.blobs import Blob
from contract.errors import BadInput
from controller.broker.link import ControllerLink
from controller.broker.messages import Publisher, Retained, blobs_in_use, farewell, retraction, sentinel
from controller.broker.skipped import Skipped
from controller.reconcile.durable import FleetRecords
from controller.reconcile.world import Durable

SENTINEL_WAIT_S = 2.0
_DESIRED, _BLOB = "desired ", "blob "

_log = logging.getLogger("edgeward.retained")


class RetainedState:
    """What one controller's broker holds for its devices."""

    def __init__(
        self,
        durable: Durable,
        publisher: Publisher,
        records: FleetRecords,
        skipped: Skipped,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._durable = durable
        self._publisher = publisher
        self._records = records
        self._trust: dict[str, Retained] = {}
        """Trust metadata by topic, as it was published last."""
        self._director = ""
        """Id of the key that signed the documents that the broker holds; empty until all were published."""
        self._sentinels: dict[str, asyncio.Event] = {}
        self._clock = clock
        self.link: ControllerLink | None = None
        self.skipped = skipped

    def saw(self, topic: str) -> bool:
        """Whether `topic` is a sentinel that was looked for; notes that it is there."""
        event = self._sentinels.get(topic)
        if event is not None:
            event.set()
        return event is not None

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
        """Publishes the trust bundle and the roles of these models, where they have changed since the last time."""
        changed = [message for message in self._publisher.trust(models) if self._trust.get(message.topic) != message]
        self._trust.update({message.topic: message for message in changed})
        self._retain(changed)

    def follow_director(self) -> None:
        """Publishes every document anew if another key signs them now: a device that comes later refuses the old."""
        if self._director != self._publisher.director:
            self._publish_all_desired()

    def _publish_all_desired(self) -> None:
        self._director = self._publisher.director
        self.publish_desired(device for device, twin in self._durable.twins.items() if twin.document_version)

    async def ensure_blobs(self, *, check: bool = False) -> None:
        """Publishes blobs that are needed and not there; takes back those that are not needed any more."""
        wanted = blobs_in_use(self._durable.twins, self._publisher)
        published = self._records.published()
        self.skipped.keep_only(_BLOB, frozenset(wanted))
        lost = await self._lost(wanted[digest] for digest in wanted if digest in published) if check else set()
        for digest, blob in wanted.items():
            if digest not in published or digest in lost:
                self._publish_blob(blob)
        for digest in published.keys() - wanted.keys():
            self._retain(retraction(published[digest]))
            self._records.save_published([], taken_back=[digest])

    def publish_desired(self, devices: Iterable[str]) -> None:
        """Publishes the desired documents of these devices, each by itself."""
        for device in devices:
            try:
                self._retain([self._publisher.desired(self._durable.twins[device])])
                self.skipped.forget(_DESIRED + device)
            except BadInput as error:
                self.skipped.failed(_DESIRED + device, error, self._clock())

    async def try_again(self) -> None:
        """Publishes what was left out a while ago, as far as it can be made now."""
        now = self._clock()
        self.skipped.keep_only(_DESIRED, frozenset(self._durable.twins))
        if self.skipped.due(_BLOB, now):
            await self.ensure_blobs()
        if devices := self.skipped.due(_DESIRED, now):
            self.publish_for(devices)

    def forget_published(self) -> None:
        """Publishes trust anew next time even if it has not changed: a device may not have heard it."""
        self._trust.clear()

    def publish_for(self, devices: Iterable[str]) -> None:
        """Publishes the roles that these devices' documents need, then the documents."""
        named = sorted(device for device in devices if device in self._durable.twins)
        self.publish_trust({model for device in named for model in self._durable.twins[device].desired})
        self.publish_desired(named)

    def _retain(self, messages: Iterable[Retained]) -> None:
        assert self.link is not None
        self.link.retain(messages)

    def _publish_blob(self, blob: Blob) -> None:
        name, now = _BLOB + blob.sha256, self._clock()
        if self.skipped.rests(name, now):
            return
        try:
            chunks = self._publisher.chunks(blob)
        except BadInput as error:
            self.skipped.failed(name, error, now)
            return
        self.skipped.forget(name)
        self._records.save_published([blob])
        self._retain(chunks)

    async def _lost(self, blobs: Iterable[Blob]) -> set[str]:
        """Digests of those that the broker does not hold, all looked for at once: however many, it takes one wait."""
        looked_for = list(blobs)
        there = await asyncio.gather(*map(self._is_there, looked_for))
        return {blob.sha256 for blob, found in zip(looked_for, there, strict=True) if not found}

    async def _is_there(self, blob: Blob) -> bool:
        assert self.link is not None
        topic = sentinel(blob)
        event = self._sentinels.setdefault(topic, asyncio.Event())
        event.clear()
        self.link.subscribe(topic)
        try:
            await asyncio.wait_for(event.wait(), SENTINEL_WAIT_S)
        except TimeoutError:
            _log.warning("the broker has lost blob %s; publishing it again", blob.sha256[:12])
            return False
        finally:
            self.link.unsubscribe(topic)
            del self._sentinels[topic]
        return True
