"""Carriers of chunks: the broker, which always has them, and sources that are asked before it.

Decides the order. Refuses to know how a source works.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from agent.ports import Link
from contract import topics
from contract.blobs import Blob

MAX_SOURCES = 8


class Carrier(Protocol):
    """A source of chunks. Calls never block; chunks arrive as messages on the blob's topics."""

    def ask(self, blob: Blob, indices: Sequence[int] | None) -> None:
        """Requests these chunks, or for None the chunk list."""
        ...

    def take_back(self, blob: Blob, indices: Sequence[int] | None) -> None:
        """Cancels the request for these chunks."""
        ...


OpenSource = Callable[[str], Carrier]


class LinkCarrier:
    """Retained chunks, which are requested by subscription. After an unsubscribe every broker sends them again."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def ask(self, blob: Blob, indices: Sequence[int] | None) -> None:
        """Subscribes to these chunks, or for None to the chunk list.

        QoS 0: a chunk that does not arrive is requested again.
        """
        self._link.subscribe(_names(blob, indices), qos=0)

    def take_back(self, blob: Blob, indices: Sequence[int] | None) -> None:
        """Cancels the requests for these chunks by unsubscribing."""
        self._link.unsubscribe(_names(blob, indices))


class Carriers:
    """The sources of one device, opened at their first use, and after them the broker."""

    def __init__(self, link: Link, open_source: OpenSource | None = None, own: Sequence[str] = ()) -> None:
        self._broker = LinkCarrier(link)
        self._open = open_source
        self._own = tuple(own)
        self._sources: dict[str, Carrier] = {}

    def in_order(self, named: Iterable[str]) -> list[tuple[str, Carrier]]:
        """Returns (address, carrier): the device's own, then those that the document names, then the broker as ""."""
        addresses = list(dict.fromkeys((*self._own, *named)))[:MAX_SOURCES] if self._open is not None else []
        return [*((address, self._source(address)) for address in addresses), ("", self._broker)]

    def _source(self, address: str) -> Carrier:
        assert self._open is not None
        if address not in self._sources:
            while len(self._sources) >= MAX_SOURCES:
                del self._sources[next(iter(self._sources))]
            self._sources[address] = self._open(address)
        return self._sources[address]


def _names(blob: Blob, indices: Sequence[int] | None) -> list[str]:
    if indices is None:
        return [topics.chunk_list(blob.sha256)]
    return [topics.chunk(blob.sha256, index) for index in indices]
