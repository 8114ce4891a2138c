"""Neighbours fetch confirmed blobs from a device, with the ranges and the checks of every other source."""

import http.client
import queue
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from agent.adapters.http import blob_server
from agent.adapters.http.blob_server import MAX_ASKERS, MAX_ASKERS_PER_ADDRESS, BlobServer
from agent.adapters.posix_disk import PosixDisk
from agent.adapters.sources import Source
from agent.config import TransferConfig, check_serve_at, check_transfer
from agent.core.events import FetchDone
from agent.flash.store import Store
from agent.stimuli import MessageArrived, SourceFailed, Stimulus
from contract import topics
from contract.blobs import Blob, chunk_list, describe, split
from contract.errors import BadInput
from tests.agent.test_encoded import CHUNK, GOLDEN, NEW
from tests.agent.test_sources import Device

BLOBS = {describe(raw, CHUNK).sha256: (describe(raw, CHUNK), raw) for raw in (NEW, GOLDEN)}
ARTIFACT = describe(NEW, CHUNK)


@pytest.fixture
def neighbour(tmp_path: Path) -> Iterator[BlobServer]:
    """A device that has confirmed both blobs."""
    store = Store(PosixDisk(tmp_path / "neighbour"))
    for blob, raw in BLOBS.values():
        for index, chunk in enumerate(split(raw, CHUNK)):
            store.write_chunk(blob, index, chunk)
        store.seal(blob)

    def find(digest: str) -> tuple[Blob, str] | None:
        found = BLOBS.get(digest)
        return None if found is None else (found[0], store.path(found[0]))

    server = BlobServer("127.0.0.1", 0, find)
    server.start()
    yield server
    server.stop()


def port_of(server: BlobServer) -> int:
    return int(server.address.rpartition(":")[2].partition("/")[0])


def ask(server: BlobServer, path: str, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port_of(server), timeout=5)
    try:
        connection.request("GET", path, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_a_device_fetches_a_whole_version_from_its_neighbour_and_from_no_other_source(
    neighbour: BlobServer, tmp_path: Path
) -> None:
    device = Device(tmp_path / "device", [], named=(neighbour.address,))
    assert isinstance(device.run(), FetchDone)
    assert device.store.read(ARTIFACT) == NEW
    assert device.dropped == []


def test_a_device_uses_the_broker_when_its_neighbour_is_gone(tmp_path: Path) -> None:
    device = Device(tmp_path / "device", [], named=("http://127.0.0.1:9/{sha256}",))
    assert isinstance(device.run(), FetchDone)
    assert device.dropped == ["sources_failed"]


def test_the_blob_server_sends_parts_by_range_and_the_list_of_chunks(neighbour: BlobServer) -> None:
    name = ARTIFACT.sha256
    assert ask(neighbour, f"/{name}", {"Range": "bytes=10-19"}) == (206, NEW[10:20])
    assert ask(neighbour, f"/{name}") == (206, NEW)
    assert ask(neighbour, f"/{name}.list") == (206, chunk_list(NEW, CHUNK))
    assert ask(neighbour, f"/{name}.list", {"Range": "bytes=32-63"}) == (206, chunk_list(NEW, CHUNK)[32:64])


@pytest.mark.parametrize(
    "path",
    ["/", f"/{'0' * 64}", "/../device", f"/{ARTIFACT.sha256}/", f"/x/{ARTIFACT.sha256}", "/record-m"],
    ids=["root", "unknown", "parent", "slash after", "folder before", "record"],
)
def test_the_blob_server_sends_only_confirmed_blobs(neighbour: BlobServer, path: str) -> None:
    assert ask(neighbour, path) == (404, b"")


@pytest.mark.parametrize(
    "wanted",
    ["bytes=5-4", f"bytes=0-{len(NEW)}", "bytes=-5", "bytes=0-", "lines=0-1", "bytes=0-1,3-4"],
    ids=["backwards", "past the end", "from the end", "open", "lines", "two parts"],
)
def test_a_range_outside_the_blob_is_refused(neighbour: BlobServer, wanted: str) -> None:
    assert ask(neighbour, f"/{ARTIFACT.sha256}", {"Range": wanted}) == (416, b"")


def test_a_blob_that_was_pruned_is_not_found(tmp_path: Path) -> None:
    server = BlobServer("127.0.0.1", 0, lambda _: (ARTIFACT, str(tmp_path / "gone")))
    server.start()
    try:
        assert ask(server, f"/{ARTIFACT.sha256}") == (404, b"")
    finally:
        server.stop()


def test_a_request_beyond_the_limit_is_refused_until_another_connection_has_closed(
    neighbour: BlobServer, tmp_path: Path
) -> None:
    holding = [socket.create_connection(("127.0.0.1", port_of(neighbour))) for _ in range(MAX_ASKERS)]
    time.sleep(0.2)
    inbox: queue.Queue[Stimulus] = queue.Queue()
    source = Source(neighbour.address, inbox.put)
    source.ask(ARTIFACT, [0])
    assert isinstance(inbox.get(timeout=5), SourceFailed)
    for each in holding:
        each.close()
    time.sleep(0.2)
    source.ask(ARTIFACT, [0])
    assert inbox.get(timeout=5) == MessageArrived(topics.chunk(ARTIFACT.sha256, 0), NEW[:CHUNK])


def test_a_neighbour_that_sends_no_request_is_disconnected(
    neighbour: BlobServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blob_server._Asker, "timeout", 0.3)
    with socket.create_connection(("127.0.0.1", port_of(neighbour))) as idle:
        idle.settimeout(5)
        assert idle.recv(1) == b"", "closed by the device"


def test_a_device_that_paused_finds_its_connection_closed_and_opens_a_new_one(
    neighbour: BlobServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blob_server._Asker, "timeout", 0.3)
    inbox: queue.Queue[Stimulus] = queue.Queue()
    source = Source(neighbour.address, inbox.put)
    for index in (0, 1):
        source.ask(ARTIFACT, [index])
        chunk = NEW[index * CHUNK : (index + 1) * CHUNK]
        assert inbox.get(timeout=5) == MessageArrived(topics.chunk(ARTIFACT.sha256, index), chunk)
        time.sleep(1.0)


def test_an_address_is_reported_in_the_form_that_neighbours_can_use() -> None:
    assert check_serve_at("") is None
    assert check_serve_at("192.168.1.17:8472") == ("192.168.1.17", 8472)
    assert check_serve_at("[fd00::7]:8472") == ("fd00::7", 8472)


@pytest.mark.parametrize(
    "serve_at", ["0.0.0.0:8472", "[::]:8472", "pi-1.local:8472", "192.168.1.17", "192.168.1.17:0", ":1"]
)
def test_an_address_that_cannot_be_reached_is_refused_with_an_example(serve_at: str) -> None:
    with pytest.raises(BadInput, match=r"transfer\.serve_at .*192\.168\.1\.17:8472"):
        check_transfer(TransferConfig(serve_at=serve_at))


def trickling(server: BlobServer, first: bytes, piece: bytes, limit_s: float = 5.0) -> float:
    """Returns how long a connection lives that sends `first`, then `piece` after `piece`, with short pauses."""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port_of(server))) as slow:
        slow.settimeout(0.05)
        slow.sendall(first)
        while time.monotonic() - began < limit_s:
            try:
                slow.sendall(piece)
                if slow.recv(1) == b"":
                    break
            except TimeoutError:
                continue
            except OSError:
                break
    return time.monotonic() - began


def test_a_head_that_arrives_too_slowly_is_cut_off(neighbour: BlobServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """No single read is slow: the limit is for the whole head."""
    monkeypatch.setattr(blob_server, "HEAD_S", 0.3)
    assert trickling(neighbour, b"GET / HTTP/1.1\r\nX-Slow: ", b"x") < 3
    assert trickling(neighbour, f"GET /{'0' * 64} HTTP/1.1\r\n\r\n".encode(), b"") < 3, "an idle connection, too"
    assert ask(neighbour, f"/{ARTIFACT.sha256}")[1] == NEW


def test_a_response_that_is_read_too_slowly_is_cut_off(
    neighbour: BlobServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    large = tmp_path / "large"
    large.write_bytes(b"x" * 16_000_000)
    monkeypatch.setattr(blob_server, "HEAD_S", 0.3)
    monkeypatch.setattr(blob_server, "SLOWEST_BYTES_S", 50_000_000)
    monkeypatch.setitem(BLOBS, "f" * 64, (describe(b"x" * 16_000_000, CHUNK), b""))
    neighbour._server.find = lambda digest: (BLOBS[digest][0], str(large)) if digest in BLOBS else None
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port_of(neighbour))) as slow, suppress(OSError):
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.sendall(f"GET /{'f' * 64} HTTP/1.1\r\n\r\n".encode())
        while (slow.recv(1024) and neighbour._server._addresses) or time.monotonic() - began < 0.3:
            time.sleep(0.01)
            assert time.monotonic() - began < 5, "it still has its place"


def test_a_request_with_a_body_is_refused_and_its_body_is_not_read(neighbour: BlobServer) -> None:
    assert ask(neighbour, f"/{ARTIFACT.sha256}", {"Content-Length": "900000000"})[0] == 400
    assert ask(neighbour, f"/{ARTIFACT.sha256}", {"Transfer-Encoding": "chunked"})[0] == 400


def test_one_neighbour_cannot_use_all_connections(neighbour: BlobServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blob_server, "_is_here", lambda _: False)
    held = [socket.create_connection(("127.0.0.1", port_of(neighbour))) for _ in range(MAX_ASKERS)]
    time.sleep(0.2)
    try:
        for one in held:
            one.settimeout(1)
        assert [one.recv(1) for one in held[MAX_ASKERS_PER_ADDRESS:]] == [b""] * (MAX_ASKERS - MAX_ASKERS_PER_ADDRESS)
        with pytest.raises(TimeoutError):
            held[0].recv(1)
    finally:
        for one in held:
            one.close()
