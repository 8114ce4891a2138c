"""Keeps the broker's retained state equal to the tables, whatever the broker forgets.

After every connection documents are published again (they are small) and each blob's sentinel chunk is looked for; a
blob whose sentinel is missing is published again. Blobs that no desired document needs any more are taken back.
"""

import asyncio
import logging
from collections.abc import Iterable

from contract.blobs import Blob
from controller.broker.link import ControllerLink
from controller.broker.messages import Publisher, Retained, blobs_in_use, retraction, sentinel
from controller.reconcile.durable import FleetRecords
from controller.reconcile.world import Durable

SENTINEL_WAIT_S = 2.0

_log = logging.getLogger("edgeward.retained")


class RetainedState:
    """What one controller's broker holds for its devices."""

    def __init__(self, durable: Durable, publisher: Publisher, records: FleetRecords) -> None:
        self._durable = durable
        self._publisher = publisher
        self._records = records
        self._trust: dict[str, Retained] = {}
        """Trust metadata by topic, as it was published last."""
        self._sentinels: dict[str, asyncio.Event] = {}
        self.link: ControllerLink | None = None

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
        self.publish_desired(device for device, twin in self._durable.twins.items() if twin.document_version)

    def publish_trust(self, models: Iterable[str]) -> None:
        """Publishes the trust bundle and the roles of these models, where they have changed since the last time."""
        changed = [message for message in self._publisher.trust(models) if self._trust.get(message.topic) != message]
        self._trust.update({message.topic: message for message in changed})
        self._retain(changed)

    async def ensure_blobs(self, *, check: bool = False) -> None:
        """Publishes blobs that are needed and not there; takes back those that are not needed any more."""
        wanted = blobs_in_use(self._durable.twins, self._publisher)
        published = self._records.published()
        for digest, blob in wanted.items():
            if digest not in published or (check and not await self._is_there(blob)):
                self._records.save_published([blob])
                self._retain(self._publisher.chunks(blob))
        for digest in published.keys() - wanted.keys():
            self._retain(retraction(published[digest]))
            self._records.save_published([], taken_back=[digest])

    def publish_desired(self, devices: Iterable[str]) -> None:
        """Publishes the desired documents of these devices."""
        self._retain(self._publisher.desired(self._durable.twins[device]) for device in devices)

    def forget_published(self) -> None:
        """Publishes trust anew next time even if it has not changed: a device may not have heard it."""
        self._trust.clear()

    def publish_for(self, devices: Iterable[str]) -> None:
        """Publishes the roles that these devices' documents need, then the documents."""
        named = sorted(devices)
        self.publish_trust({model for device in named for model in self._durable.twins[device].desired})
        self.publish_desired(named)

    def _retain(self, messages: Iterable[Retained]) -> None:
        assert self.link is not None
        self.link.retain(messages)

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
