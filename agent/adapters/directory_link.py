"""The Link port on a directory, for a site without a broker: a stick brings documents and takes messages.

Decides when the directory is read and which messages are kept for the controller. Its documents are verified like those
of a broker. Refuses to know what documents mean; blobs come from the same directory, as from any source.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from agent.adapters.posix_disk import SHARED_MODE, PosixDisk
from agent.flash.atomic_file import replace
from agent.stimuli import LinkDown, LinkUp, MessageArrived, Stimulus
from contract.errors import EdgewardError, WorldError
from contract.stick import (
    DOCUMENTS,
    MAX_DOCUMENTS_BYTES,
    MAX_MESSAGES_BYTES,
    StickDocuments,
    StickMessage,
    StickMessages,
    messages_file,
)
from contract.topics import UP_CAPTURED, UP_REPORT, parse_up
from contract.wire import decode, encode

LOOK_S = 1.0
STOP_S = 5.0

_log = logging.getLogger("edgeward.link")


class DirectoryLink:
    """Up while the directory is there. `url` is `file:///directory`."""

    def __init__(self, url: str, device: str, deliver: Callable[[Stimulus], None]) -> None:
        self._directory = Path(unquote(urlsplit(url).path))
        self._disk = PosixDisk(self._directory, file_mode=SHARED_MODE, create=False)
        self._device = device
        self._deliver = deliver
        self._up = False
        self._seen: tuple[int, int, int] | None = None
        self._documents: dict[str, str] = {}
        self._lock = threading.Lock()
        self._subscribed: dict[str, bool] = {}
        """Whether the document of each topic was delivered."""
        self._said: dict[bytes, str] = {}
        """Topics by payload, oldest first: a message that is sent again is stored once."""
        self._unwritten = True
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="directory", daemon=True)

    def start(self) -> None:
        """Starts the thread that reads and writes the directory."""
        self._thread.start()

    def stop(self) -> None:
        """Writes the remaining messages and ends the thread."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(STOP_S)

    def hand_over(self) -> None:
        """Ends the thread: another link takes its place."""
        self.stop()

    def revive(self) -> None:
        """Does nothing: the thread treats every fault of the directory as a link that is down."""

    def publish(
        self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False, expiry_s: int | None = None
    ) -> None:
        """Keeps a message for the controller; of messages other than reports and captured rows only the newest."""
        up = parse_up(topic)
        if up is None:
            return
        with self._lock:
            if up[1] not in (UP_REPORT, UP_CAPTURED):
                self._said = {body: where for body, where in self._said.items() if where != topic}
            elif payload in self._said:
                return
            self._said[payload] = topic
            while sum(map(len, self._said)) > MAX_MESSAGES_BYTES // 2:  # quotes are doubled in the file
                del self._said[next(iter(self._said))]
            self._unwritten = True

    def subscribe(self, topics: Sequence[str], *, qos: int = 1) -> None:
        """Delivers these documents, now and whenever they have changed; a file needs no acknowledgement."""
        with self._lock:
            self._subscribed.update(dict.fromkeys(topics, False))

    def unsubscribe(self, topics: Sequence[str]) -> None:
        """Ends the subscription to these topics."""
        with self._lock:
            for topic in topics:
                self._subscribed.pop(topic, None)

    def _work(self) -> None:
        while not self._stop.is_set():
            self._look()
            self._stop.wait(LOOK_S)
        self._look()

    def _look(self) -> None:
        there = self._directory.is_dir()
        if there != self._up:
            self._up, self._seen, self._unwritten = there, None, True
            _log.info("%s is %s", self._directory, "there" if there else "gone")
            self._deliver(LinkUp() if there else LinkDown())
        if there:
            try:
                self._read()
                self._write()
            except (OSError, EdgewardError) as error:
                _log.warning("%s: %s", self._directory, error)

    def _read(self) -> None:
        path = self._directory / DOCUMENTS
        if path.exists() and (seen := _identity(path)) != self._seen:
            self._seen = seen
            before, self._documents = self._documents, _documents(path)
            with self._lock:
                for topic in self._subscribed:
                    self._subscribed[topic] &= before.get(topic) == self._documents.get(topic)
        with self._lock:
            due = [topic for topic, brought in self._subscribed.items() if not brought and topic in self._documents]
            self._subscribed.update(dict.fromkeys(due, True))
        for topic in due:
            self._deliver(MessageArrived(topic, self._documents[topic].encode()))

    def _write(self) -> None:
        with self._lock:
            if not self._unwritten:
                return
            said = tuple(StickMessage(topic=topic, text=body.decode()) for body, topic in self._said.items())
            self._unwritten = False
        try:
            replace(self._disk, messages_file(self._device), encode(StickMessages(messages=said)))
        except WorldError:
            self._unwritten = True
            raise


def _identity(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _documents(path: Path) -> dict[str, str]:
    return decode(path.read_bytes(), StickDocuments, max_bytes=MAX_DOCUMENTS_BYTES).documents
