"""Checks whether a broker still holds blobs: the right list of a blob's chunks, and its last chunk.

Decides how long it waits for an answer. The last chunk is published last, so its presence shows that the others
arrived. Refuses to know which blobs are needed.
"""

import asyncio
import logging
from collections.abc import Sequence

from contract import topics
from contract.blobs import Blob, sha256_hex
from controller.broker.link import ControllerLink
from controller.broker.messages import sentinel

SENTINEL_WAIT_S = 2.0

_log = logging.getLogger("edgeward.retained")


class Sentinels:
    """The blobs that are looked for now."""

    def __init__(self) -> None:
        self.link: ControllerLink | None = None
        self._wanted: dict[str, tuple[asyncio.Event, str]] = {}
        """The event that is set when a message arrives on a topic, and the digest that it must have ("" for any), by
        topic."""

    def saw(self, topic: str, payload: bytes) -> bool:
        """Returns whether a topic is being checked; notes the message there."""
        wanted = self._wanted.get(topic)
        if wanted is None:
            return False
        came, digest = wanted
        if payload and digest in ("", sha256_hex(payload)):
            came.set()
        return True

    async def lost(self, blobs: Sequence[Blob]) -> set[str]:
        """Returns the digests of those that the broker does not hold. All are checked at once, in the time of one."""
        there = await asyncio.gather(*map(self._is_there, blobs))
        return {blob.sha256 for blob, found in zip(blobs, there, strict=True) if not found}

    async def _is_there(self, blob: Blob) -> bool:
        named = {topics.chunk_list(blob.sha256): blob.chunks_sha256, sentinel(blob): ""}
        found = await asyncio.gather(*(self._comes(topic, digest) for topic, digest in named.items()))
        if not all(found):
            _log.warning("the broker has lost blob %s; publishing it again", blob.sha256[:12])
        return all(found)

    async def _comes(self, topic: str, digest: str) -> bool:
        assert self.link is not None
        came = asyncio.Event()
        self._wanted[topic] = came, digest
        self.link.subscribe(topic)
        try:
            await asyncio.wait_for(came.wait(), SENTINEL_WAIT_S)
        except TimeoutError:
            return False
        finally:
            self.link.unsubscribe(topic)
            del self._wanted[topic]
        return True
