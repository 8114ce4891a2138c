"""Chunks from sources other than the broker: HTTP(S) with ranges, or a directory, such as a stick.

Decides how chunks are requested. One thread delivers them as if the broker had sent them, and they are verified in the
same way. A source that fails is reported once, and the download continues with the next. Refuses to know what chunks
are for.
"""

import logging
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from agent.adapters.timely import TimelyResponse
from agent.stimuli import MessageArrived, SourceFailed, Stimulus
from contract import topics
from contract.blobs import Blob

if TYPE_CHECKING:
    from http.client import HTTPConnection, HTTPResponse

TIMEOUT_S = 20.0
"""Seconds without a byte after which a source has failed."""
MIN_BYTES_S = 500
"""Bytes a second below which a source has failed after `TIMEOUT_S`, although it still sends some: a tenth of the
rate of a slow GPRS link. A source that sends a byte a minute would hold its thread for days.
"""
MAX_CONNECTIONS = 2
MAX_ADDRESS_CHARS = 4096
MAX_REFUSAL_BYTES = 64 * 1024
"""The most bytes that are read of a response without chunks, so that its connection can be used again."""
MAX_WAITING = 64
"""The number of requests that may wait for the thread; a transfer has one or two at a time."""

_log = logging.getLogger("edgeward.agent")

Ask = tuple[Blob, tuple[int, ...] | None]


class Source:
    """One source with blobs under their digests: `http://host/path/{sha256}` or `file:///directory`."""

    def __init__(self, url: str, deliver: Callable[[Stimulus], None], ca_file: str = "") -> None:
        self.url = url
        self._deliver = deliver
        self._ca_file = ca_file
        self._asks: queue.Queue[Ask] = queue.Queue(MAX_WAITING)
        self._taken_back: set[tuple[str, int]] = set()
        self._thread: threading.Thread | None = None
        self._connections: dict[str, HTTPConnection] = {}
        """Connections by scheme and host: one to the source, and one to the server to which it redirects."""
        self._moved: dict[str, str] = {}
        """The redirected address by file name, for the newest blob only."""

    def ask(self, blob: Blob, indices: Sequence[int] | None) -> None:
        """Requests these chunks, or for None the chunk list."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=f"source {self.url}", daemon=True)
            self._thread.start()
        for index in indices or ():
            self._taken_back.discard((blob.sha256, index))
        try:
            self._asks.put_nowait((blob, None if indices is None else tuple(indices)))
        except queue.Full:
            self._deliver(SourceFailed(self.url, "too many requests wait for it"))

    def take_back(self, blob: Blob, indices: Sequence[int] | None) -> None:
        """Cancels the request for these chunks."""
        self._taken_back.update((blob.sha256, index) for index in indices or ())

    def _work(self) -> None:
        while True:
            if self._asks.empty():
                self._taken_back.clear()
            blob, indices = self._asks.get()
            try:
                if indices is None:
                    self._bring_list(blob)
                else:
                    for run in _runs([index for index in indices if (blob.sha256, index) not in self._taken_back]):
                        self._bring(blob, run)
            except Exception as error:  # a server may fail in any way; the broker has the blob, too
                self._connections.clear()
                self._moved.clear()
                _log.warning("source %s: %s: %s", self.url, type(error).__name__, error)
                self._deliver(SourceFailed(self.url, f"{type(error).__name__}: {error}"[:200]))

    def _bring_list(self, blob: Blob) -> None:
        raw = b"".join(self._read(f"{blob.sha256}.list", 0, blob.list_bytes, [blob.list_bytes]))
        self._deliver(MessageArrived(topics.chunk_list(blob.sha256), raw))

    def _bring(self, blob: Blob, run: Sequence[int]) -> None:
        spans = [blob.span(index) for index in run]
        sizes = [size for _, size in spans]
        for index, chunk in zip(run, self._read(blob.sha256, spans[0][0], sum(sizes), sizes), strict=True):
            self._deliver(MessageArrived(topics.chunk(blob.sha256, index), chunk))

    def _read(self, name: str, offset: int, total: int, sizes: Sequence[int]) -> Iterator[bytes]:
        if self.url.startswith("file:"):
            with (Path(unquote(urlsplit(self.url).path)) / name).open("rb") as file:
                file.seek(offset)
                yield from (_exactly(file.read(size), size) for size in sizes)
            return
        answer = self._request(name, offset, total)
        for size in sizes:
            yield _exactly(answer.read(size), size)

    def _request(self, name: str, offset: int, total: int) -> "HTTPResponse":
        """Requests a part of a file. If a redirected address has expired, asks the source itself again, once."""
        wanted = f"bytes={offset}-{offset + total - 1}"
        if (moved := self._moved.get(name)) is not None:
            answer = self._get(moved, wanted, total)
            if _holds(answer, offset, total):
                return answer
            answer.read(MAX_REFUSAL_BYTES)
            self._connections.clear()
        answer = self._get(self.url.replace("{sha256}", name), wanted, total)
        if answer.status == HTTPStatus.TEMPORARY_REDIRECT:
            moved = _location(answer)
            answer.read(MAX_REFUSAL_BYTES)
            self._moved = {name: moved}
            answer = self._get(moved, wanted, total)
        if not _holds(answer, offset, total):
            raise OSError(f"HTTP {answer.status} for {name[:12]}")
        return answer

    def _get(self, address: str, wanted: str, total: int) -> "HTTPResponse":
        url = urlsplit(address)
        place = f"{url.scheme}://{url.netloc}"
        path = f"{url.path}?{url.query}" if url.query else url.path
        if (known := self._connections.pop(place, None)) is not None:
            with suppress(ConnectionError):  # the server closed the idle connection; this is no fault of the source
                return self._ask_on(known, place, path, wanted, total)
        if len(self._connections) >= MAX_CONNECTIONS:
            self._connections.clear()
        return self._ask_on(self._connect(url.scheme, url.netloc), place, path, wanted, total)

    def _ask_on(self, connection: "HTTPConnection", place: str, path: str, wanted: str, total: int) -> "HTTPResponse":
        if connection.sock is not None:
            connection.sock.settimeout(TIMEOUT_S)  # the connection still has the rest of the last answer's time limit
        within_s = TIMEOUT_S + total / MIN_BYTES_S
        connection.response_class = partial(TimelyResponse, within_s=within_s, silent_s=TIMEOUT_S)  # type: ignore[assignment]  # called like the class
        connection.request("GET", path, headers={"Range": wanted})
        answer = connection.getresponse()
        self._connections[place] = connection
        return answer

    def _connect(self, scheme: str, address: str) -> "HTTPConnection":
        import ssl
        from http.client import HTTPConnection, HTTPSConnection

        if scheme == "https":
            context = ssl.create_default_context(cafile=self._ca_file or None)
            return HTTPSConnection(address, timeout=TIMEOUT_S, context=context)
        return HTTPConnection(address, timeout=TIMEOUT_S)


def _holds(answer: "HTTPResponse", offset: int, total: int) -> bool:
    """Tells whether the response is the part that was requested, or a whole file of the same size."""
    whole = answer.status == HTTPStatus.OK and offset == 0 and int(answer.headers.get("Content-Length", "-1")) == total
    return answer.status == HTTPStatus.PARTIAL_CONTENT or whole


def _location(answer: "HTTPResponse") -> str:
    """Returns the address of a redirect: one step, HTTP and HTTPS only.

    Chunks from there are verified like all others.
    """
    address = answer.headers.get("Location", "")
    if len(address) > MAX_ADDRESS_CHARS or not address.startswith(("http://", "https://")):
        raise OSError(f"redirected to {address[:80]!r}, which is not an HTTP address")
    return address


def _runs(indices: Sequence[int]) -> Iterator[list[int]]:
    """Groups consecutive indices; each group needs one request."""
    run: list[int] = []
    for index in sorted(indices):
        if run and index != run[-1] + 1:
            yield run
            run = []
        run.append(index)
    if run:
        yield run


def _exactly(data: bytes, size: int) -> bytes:
    if len(data) != size:
        raise OSError(f"{len(data)} bytes where {size} were requested")
    return data
