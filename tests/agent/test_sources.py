"""Chunks from other places than the broker: a web server with ranges, a directory; and sources with every kind of
fault.
"""

import queue
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from agent.adapters import sources
from agent.adapters.posix_disk import PosixDisk
from agent.adapters.sources import Source
from agent.config import TransferConfig, check_transfer
from agent.core.events import FetchDone
from agent.core.model import Assignment
from agent.flash.store import Store
from agent.stimuli import MessageArrived, SourceFailed, Stimulus
from agent.transfer.carriers import Carriers
from agent.transfer.download import Download, Result
from contract import topics
from contract.blobs import chunk_list, describe
from contract.errors import BadInput
from tests.agent.test_encoded import CHUNK, GOLDEN, NEW, Broker, assigned

FILES = {
    name: data
    for raw in (NEW, GOLDEN)
    for name, data in (
        (describe(raw, CHUNK).sha256, raw),
        (f"{describe(raw, CHUNK).sha256}.list", chunk_list(raw, CHUNK)),
    )
}


SENT = {
    "sends on": "http://{host}/there/{name}",
    "sends on for ever": "http://{host}/blobs/{name}",
    "sends to a file": "file:///etc/passwd",
}


class Web(BaseHTTPRequestHandler):
    """Serves FILES by range, or answers wrongly on request."""

    protocol_version = "HTTP/1.1"
    manner = "good"
    requests = there = 0
    expires_at = 0
    """The number of the request to the redirected address that fails; 0: none."""

    def do_GET(self) -> None:
        type(self).requests += 1
        name = self.path.rpartition("/")[2]
        data = FILES.get(name, b"")
        first, last = (int(text) for text in self.headers["Range"].removeprefix("bytes=").split("-"))
        part = data[first : last + 1]
        if self.path.startswith("/there/"):
            type(self).there += 1
            self._answer(206, part) if self.there != self.expires_at else self._answer(403, b"expired")
        elif self.manner in SENT:
            self._answer(307, b"", SENT[self.manner].format(host=self.headers["Host"], name=name))
        else:
            self._behave(part, data)

    def _behave(self, part: bytes, data: bytes) -> None:
        match self.manner:
            case "good":
                self._answer(206, part)
            case "no ranges":
                self._answer(200, data)
            case "missing":
                self._answer(404, b"")
            case "redirect":
                self._answer(302, b"")
            case "other bytes":
                self._answer(206, bytes(len(part)))
            case "short":
                self._answer(206, part[:-1])
            case "closes":
                self.close_connection = True
            case "stalls":
                time.sleep(3.0)
                self.close_connection = True

    def _answer(self, status: int, data: bytes, location: str = "http://127.0.0.1:1/") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Location", location)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def web() -> Iterator[tuple[str, type[Web]]]:
    kind = type("OneWeb", (Web,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/blobs/{{sha256}}", kind
    server.shutdown()
    server.server_close()


class Device:
    """A download with real sources, its inbox, and a broker behind them."""

    def __init__(self, directory: Path, own: list[str], named: tuple[str, ...] = ()) -> None:
        self.store = Store(PosixDisk(directory))
        self.broker = Broker(NEW, GOLDEN)
        self.inbox: queue.Queue[Stimulus] = queue.Queue()
        self.dropped: list[str] = []
        carriers = Carriers(self.broker, lambda url: Source(url, self.inbox.put), own)  # type: ignore[arg-type]
        wanted: Assignment = replace(assigned(None), sources=named)
        self.download = Download(wanted, store=self.store, carriers=carriers, drop=self.dropped.append)

    def run(self, within_s: float = 20.0) -> Result:
        until = time.monotonic() + within_s
        result = self.download.start(time.monotonic())
        while result is None and time.monotonic() < until:
            result = self.broker.serve(self.download, time.monotonic()) or self._take()
        return result

    def _take(self) -> Result:
        try:
            stimulus = self.inbox.get(timeout=0.2)
        except queue.Empty:
            return self.download.tick(time.monotonic())
        now = time.monotonic()
        match stimulus:
            case MessageArrived(topic, payload):
                place = topics.parse_blob(topic)
                assert place is not None
                return self.download.receive(*place, payload, now)
            case SourceFailed(source, _):
                return self.download.source_failed(source, now)
            case _:
                raise AssertionError(stimulus)


def test_a_web_server_sends_everything_by_ranges_and_the_broker_is_not_asked(
    tmp_path: Path, web: tuple[str, type[Web]]
) -> None:
    device = Device(tmp_path, [web[0]])
    assert isinstance(device.run(), FetchDone)
    assert (device.broker.sent_bytes, device.dropped) == (0, [])
    assert web[1].requests < len(NEW) // CHUNK, "neighbouring chunks come by one request"


def test_a_mounted_directory_gives_every_blob(tmp_path: Path) -> None:
    stick = tmp_path / "stick"
    stick.mkdir()
    for name, data in FILES.items():
        (stick / name).write_bytes(data)
    device = Device(tmp_path / "state", [stick.as_uri()])
    assert isinstance(device.run(), FetchDone)
    assert device.broker.sent_bytes == 0


@pytest.mark.parametrize("manner", [
    "no ranges", "missing", "redirect", "sends on for ever", "sends to a file", "short", "closes", "stalls",
])  # fmt: skip
def test_after_a_failing_source_the_broker_is_asked(
    tmp_path: Path, web: tuple[str, type[Web]], manner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "TIMEOUT_S", 1.0)
    web[1].manner = manner
    device = Device(tmp_path, [], (web[0],))
    assert isinstance(device.run(), FetchDone)
    assert device.dropped == ["sources_failed"]
    assert device.broker.sent_bytes >= len(NEW)


@pytest.mark.parametrize("expires_at", [0, 4], ids=["lasting", "expiring"])
def test_a_source_may_redirect_once_and_is_asked_again_when_that_address_has_expired(
    tmp_path: Path, web: tuple[str, type[Web]], expires_at: int
) -> None:
    web[1].manner, web[1].expires_at = "sends on", expires_at
    device = Device(tmp_path, [web[0]])
    assert isinstance(device.run(), FetchDone)
    assert (device.broker.sent_bytes, device.dropped) == (0, [])
    assert web[1].there > 4, "there was something to expire"


def test_nothing_from_a_source_that_sends_false_bytes_is_written_to_disk(
    tmp_path: Path, web: tuple[str, type[Web]]
) -> None:
    web[1].manner = "other bytes"
    device = Device(tmp_path, [web[0]])
    assert isinstance(device.run(), FetchDone)
    assert "chunks_invalid" in device.dropped
    assert "sources_failed" in device.dropped


def test_early_chunks_of_a_source_that_sent_false_bytes_are_dropped_too(tmp_path: Path) -> None:
    blob, store, dropped, broker = describe(NEW, CHUNK), Store(PosixDisk(tmp_path)), list[str](), Broker(NEW, GOLDEN)
    store.write_chunk(describe(GOLDEN, CHUNK), 0, GOLDEN)
    store.seal(describe(GOLDEN, CHUNK))
    silent = SimpleNamespace(ask=lambda *_: None, take_back=lambda *_: None)
    carriers = Carriers(broker, lambda _: silent, ["http://liar/{sha256}"])  # type: ignore[arg-type, return-value]
    download = Download(assigned(None), store=store, carriers=carriers, drop=dropped.append)
    download.start(0.0)
    download.receive(blob.sha256, None, chunk_list(NEW, CHUNK), 0.0)
    for index in (1, 0):
        assert download.receive(blob.sha256, index, b"\0" * CHUNK, 0.0) is None
    assert isinstance(broker.serve(download, 0.0), FetchDone)
    assert dropped == ["chunks_invalid", "sources_failed"]


def test_a_missing_usb_stick_does_not_fail_the_download(tmp_path: Path) -> None:
    device = Device(tmp_path, ["file:///nowhere/at/all"])
    assert isinstance(device.run(), FetchDone)
    assert device.dropped == ["sources_failed"]


@pytest.mark.parametrize(
    "fields",
    [
        {"sources": ("ftp://x/{sha256}",)},
        {"sources": ("https://x/",)},
        {"sources": ("file://relative",)},
        {"hours": ("25:00-26:00",)},
    ],
)
def test_an_invalid_address_or_hour_is_refused(fields: dict[str, tuple[str, ...]]) -> None:
    with pytest.raises(BadInput, match=r"transfer\.sources|25:00"):
        check_transfer(TransferConfig(**fields))  # type: ignore[arg-type]


def test_the_newest_unneeded_files_stay_within_the_quota_until_space_is_needed(tmp_path: Path) -> None:
    store = Store(PosixDisk(tmp_path), keep_bytes=2500)
    blobs = [describe(bytes([number]) * 1000, CHUNK) for number in range(5)]
    for number, blob in enumerate(blobs):
        store.write_piece(blob, 0, bytes([number]) * 1000)
        store.seal(blob)
        store.prune({blob.sha256})
    assert [store.has(blob) for blob in blobs] == [False, False, True, True, True]
    store._disk.free_bytes = lambda: 0  # type: ignore[method-assign]
    with pytest.raises(Exception, match="disk_full"):
        store.reserve(blobs[0])
    assert store.has(blobs[4]), "what is in use is never given up for room"


def test_a_file_that_is_needed_again_is_not_deleted_as_unneeded(tmp_path: Path) -> None:
    store = Store(PosixDisk(tmp_path), keep_bytes=10_000)
    blob, other = describe(b"a" * 1000, CHUNK), describe(b"b" * 1000, CHUNK)
    store.write_piece(blob, 0, b"a" * 1000)
    store.seal(blob)
    store.prune(())
    assert store.has(blob)
    store._disk.free_bytes = lambda: 0  # type: ignore[method-assign]
    with pytest.raises(Exception, match="disk_full"):
        store.reserve(other)
    assert store.has(blob)


def test_a_source_that_drips_fails_once_it_is_slower_than_any_link(monkeypatch: pytest.MonkeyPatch) -> None:
    """One byte now and then keeps a socket's own time-out away: the whole answer has a deadline as well."""
    monkeypatch.setattr(sources, "TIMEOUT_S", 0.3)
    monkeypatch.setattr(sources, "MIN_BYTES_S", 1e9)
    dripping, failed = threading.Event(), threading.Event()

    def drip(listener: socket.socket) -> None:
        client, _ = listener.accept()
        client.sendall(b"HTTP/1.1 206 Partial Content\r\nContent-Length: 1000\r\n\r\n")
        while not dripping.wait(0.05):
            try:
                client.sendall(b"x")
            except OSError:
                return

    said: list[Stimulus] = []

    def deliver(stimulus: Stimulus) -> None:
        said.append(stimulus)
        failed.set()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=drip, args=(listener,), daemon=True).start()
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/{{sha256}}"
        Source(address, deliver).ask(describe(NEW, CHUNK), [0])
        assert failed.wait(20), "the source's thread is held"
        dripping.set()
    assert isinstance(said[0], SourceFailed)
    assert "TimeoutError" in said[0].detail
