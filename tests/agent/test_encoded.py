"""An artifact that is sent in fewer bytes: how the device decodes it, and what happens to a bad one."""

import io
import lzma
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from agent.core.events import FetchDone
from agent.core.model import Assignment
from agent.flash.store import Store
from agent.transfer.carriers import Carriers
from agent.transfer.download import Download, Pace, Result
from contract import topics
from contract.blobs import chunk_list, describe, sha256_hex, split
from contract.desired import Delivery, TrialPolicy
from contract.encoding import (
    ENCODING,
    HEADER,
    LANES,
    MAX_SEGMENT_BYTES,
    Kind,
    Unpacked,
    decode_segments,
    pack,
    reorder,
    restore,
)
from contract.errors import BadInput, Code
from controller.encode.encode import encode_artifact
from firmware_sim.flash import Flash
from firmware_sim.models import make_model
from firmware_sim.power import Power, never

CHUNK = 4096
BASE = os.urandom(300_000)
NEW = BASE[:1000] + b"some more" + BASE[1000:200_000] + os.urandom(600) + BASE[210_000:]


def undo(packed: bytes, base: bytes, length: int) -> bytes:
    stream = io.BytesIO(packed)
    unpacked = Unpacked(lambda: stream.read(1000))
    return b"".join(decode_segments(unpacked.read, lambda at, size: base[at : at + size], length))


@pytest.mark.parametrize(
    ("base", "target", "at_most"),
    [
        (BASE, NEW, 1200),
        (BASE, BASE, 200),
        (b"", NEW, len(NEW) + 500),
        (b"", bytes(5_000_000), 2000),
        (BASE, b"x", 100),
    ],
    ids=["changed", "same", "no base", "zeros", "tiny"],
)
def test_decoding_returns_the_original_bytes_and_encoding_makes_them_fewer(
    base: bytes, target: bytes, at_most: int
) -> None:
    packed = encode_artifact(target, base)
    assert undo(packed, base, len(target)) == target
    assert len(packed) <= at_most


@settings(max_examples=60, deadline=None)
@given(
    cuts=st.lists(st.tuples(st.integers(0, 20_000), st.integers(0, 4000), st.binary(max_size=300)), max_size=8),
    data=st.data(),
)
def test_any_edits_of_any_bytes_are_decoded(cuts: list[tuple[int, int, bytes]], data: st.DataObject) -> None:
    base = BASE[: data.draw(st.integers(0, 20_000))] * data.draw(st.integers(1, 3))
    target = base
    for at, removed, put in cuts:
        target = target[:at] + put + target[at + removed :]
    target = target or b"x"
    assert undo(encode_artifact(target, base), base, len(target)) == target


@given(st.binary(max_size=100), st.sampled_from(sorted(LANES)))
def test_restoring_reordered_bytes_returns_the_original_bytes(data: bytes, lanes: int) -> None:
    assert restore(reorder(data, lanes), lanes) == data


def segment(kind: int, data: bytes = b"", *, lanes: int = 1, at: int = 0, size: int | None = None) -> bytes:
    return HEADER.pack(kind, lanes, at, len(data) if size is None else size) + data


@pytest.mark.parametrize(
    "packed",
    [
        pack(iter([segment(Kind.NEW, b"abc")])),
        pack(iter([segment(Kind.NEW, b"a" * 11)])),
        pack(iter([segment(Kind.NEW, b"a" * 10), b"more"])),
        pack(iter([segment(7, b"a" * 10)])),
        pack(iter([segment(Kind.NEW, b"a" * 10, lanes=3)])),
        pack(iter([segment(Kind.NEW, b"", size=0)])),
        pack(iter([segment(Kind.COPY, size=MAX_SEGMENT_BYTES + 1)])),
        pack(iter([segment(Kind.COPY, at=len(BASE) - 5, size=10)])),
        pack(iter([segment(Kind.NEW, b"a" * 10)]))[:20],
        b"no xz at all",
        lzma.compress(bytes(50_000_000), preset=9),
        b"",
    ],
    ids=["short", "long", "trailing", "kind", "lanes", "empty", "huge", "beyond", "cut", "garbage", "bomb", "nothing"],
)
def test_an_invalid_stream_is_refused_before_memory_is_allocated(packed: bytes) -> None:
    with pytest.raises(BadInput) as caught:
        undo(packed, BASE, 10)
    assert caught.value.code == Code.ENCODING_INVALID


class Broker:
    """Holds blobs and delivers what is subscribed to."""

    def __init__(self, *blobs: bytes) -> None:
        self.retained: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.open: set[str] = set()
        self.packets = 0
        self.sent_bytes = 0
        for data in blobs:
            blob = describe(data, CHUNK)
            self.retained[topics.chunk_list(blob.sha256)] = chunk_list(data, CHUNK)
            for index, chunk in enumerate(split(data, CHUNK)):
                self.retained[topics.chunk(blob.sha256, index)] = chunk

    def subscribe(self, names: list[str], *, qos: int = 1) -> None:
        assert qos == 0, "a chunk that does not come is asked for again"
        self.asked += names
        self.open.update(names)
        self.packets += 1

    def unsubscribe(self, names: list[str]) -> None:
        assert self.open.issuperset(names)
        self.open.difference_update(names)
        self.packets += 1

    def publish(self, topic: str, payload: bytes, **_: object) -> None:
        raise AssertionError(topic)

    def serve(self, download: Download, now: float) -> Result:
        """Serves until the download ends or waits for something that does not exist."""
        result: Result = None
        while result is None and (self.asked or download.wake_at() == 0.0):
            names, self.asked = self.asked, []
            for name in names:
                payload = self.retained.get(name)
                place = topics.parse_blob(name)
                if payload is not None and place is not None:
                    self.sent_bytes += len(payload)
                    result = download.receive(*place, payload, now) or result
            result = result or download.tick(now)
        return result


def device() -> tuple[Flash, Store]:
    flash = Flash(lambda: __import__("random").Random(1), Power(never()))
    store = Store(flash)
    base = describe(BASE, CHUNK)
    store.write_piece(base, 0, BASE)
    store.seal(base)
    return flash, store


def assigned(delivery: Delivery | None) -> Assignment:
    made = make_model(2, "good")
    manifest = replace(made.manifest, artifact=describe(NEW, CHUNK))
    return Assignment(model="m", generation=1, manifest=manifest, policy=TrialPolicy(), delivery=delivery)


def delivered(packed: bytes, base: str = "", encoding: str = ENCODING) -> Delivery:
    return Delivery(encoding=encoding, blob=describe(packed, CHUNK), base=base or sha256_hex(BASE))


GOLDEN = make_model(2, "good").golden


def fetch(broker: Broker, store: Store, delivery: Delivery | None) -> tuple[Result, list[str]]:
    dropped: list[str] = []
    download = Download(assigned(delivery), store=store, carriers=Carriers(broker), drop=dropped.append)
    result = download.start(0.0) or broker.serve(download, 0.0)
    return result, dropped


def whole(store: Store) -> bool:
    return store.has(describe(NEW, CHUNK))


def test_a_device_that_has_the_base_fetches_only_the_change() -> None:
    packed = encode_artifact(NEW, BASE)
    broker, (flash, store) = Broker(packed, NEW, GOLDEN), device()
    result, dropped = fetch(broker, store, delivered(packed))
    assert (type(result), dropped, whole(store)) == (FetchDone, [], True)
    assert broker.sent_bytes < len(packed) + len(GOLDEN) + 3 * CHUNK
    assert f"blob-{sha256_hex(packed)}" not in flash.names(), "the change is of no use any more"


@pytest.mark.parametrize(
    "delivery",
    [
        delivered(encode_artifact(NEW, BASE), base="0" * 64),
        delivered(encode_artifact(NEW, BASE), encoding="segments-9"),
        None,
    ],
    ids=["other base", "unknown encoding", "none"],
)
def test_a_device_that_cannot_decode_the_change_fetches_the_whole_artifact(delivery: Delivery | None) -> None:
    broker, (_, store) = Broker(NEW, GOLDEN), device()
    result, dropped = fetch(broker, store, delivery)
    assert (type(result), dropped, whole(store)) == (FetchDone, [], True)


@pytest.mark.parametrize(
    "packed",
    [b"garbage" * 1000, encode_artifact(NEW, BASE[::-1]), encode_artifact(NEW[::-1], BASE), encode_artifact(NEW)[:-99]],
    ids=["garbage", "against another base", "another artifact", "cut"],
)
def test_a_change_with_a_wrong_result_is_dropped_and_the_whole_artifact_is_fetched(packed: bytes) -> None:
    broker, (flash, store) = Broker(packed, NEW, GOLDEN), device()
    result, dropped = fetch(broker, store, delivered(packed))
    assert (type(result), whole(store)) == (FetchDone, True)
    assert dropped in ([], ["encodings_invalid"])
    assert f"blob-{sha256_hex(packed)}" not in flash.names()


def test_a_device_requests_nothing_outside_its_hours() -> None:
    broker, (_, store) = Broker(NEW, GOLDEN), device()
    closed = [30.0]
    pace = Pace(closed_s=lambda: closed[0])
    download = Download(assigned(None), store=store, carriers=Carriers(broker), drop=lambda _: None, pace=pace)
    download.start(0.0)
    broker.serve(download, 0.0)
    assert broker.sent_bytes <= 32 * (len(NEW) // CHUNK + 1), "chunk lists at the most"
    assert download.wake_at() == 30.0
    closed[0] = 0.0
    download.tick(30.0)
    assert isinstance(broker.serve(download, 30.0), FetchDone)


def test_chunks_are_requested_and_retracted_in_groups_and_no_request_remains() -> None:
    broker, (_, store) = Broker(NEW, GOLDEN), device()
    result, _ = fetch(broker, store, None)
    assert (type(result), broker.open) == (FetchDone, set())
    assert broker.packets < len(NEW) / CHUNK / 3


def test_progress_is_of_the_blob_in_progress() -> None:
    broker, (_, store) = Broker(NEW, GOLDEN), device()
    download = Download(assigned(None), store=store, carriers=Carriers(broker), drop=lambda _: None)
    download.start(0.0)
    seen = [download.progress]
    while broker.asked:
        names, broker.asked = broker.asked, []
        for name in names:
            download.receive(*topics.parse_blob(name), broker.retained[name], 0.0)  # type: ignore[misc]
        seen.append(download.progress)
    artifact = [each.done_bytes for each in seen if each.total_bytes == len(NEW)]
    assert artifact == sorted(artifact)
    assert len(set(artifact)) > 5
