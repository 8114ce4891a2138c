"""Each document and each blob is published separately, so that a bad one affects no other."""

import asyncio
import logging
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from msgspec.structs import replace

from contract import topics
from contract.blobs import Blob, chunk_list, describe, sha256_hex
from contract.messages import ModelState, Report
from controller.broker import retained as module
from controller.broker import sentinels
from controller.broker.foreign import AGAIN_MAX_S, AGAIN_MIN_S, EVERYTHING, MAX_AT_ONCE, MAX_TOPICS, TOLD_S, Foreign
from controller.broker.messages import Retained, sentinel
from controller.broker.retained import DOUBT_MAX_S, DOUBT_S, RetainedState
from controller.broker.sentinels import Sentinels
from controller.broker.skipped import RETRY_S
from controller.config import Config, StorageConfig
from controller.fleet.twin import Assigned, Twin
from controller.gates.verdict import GateVerdict
from controller.registry.version import Lineage, Version
from controller.service import Service
from controller.state import State, open_state
from tests.controller.test_deliveries import manifest_of
from tests.controller.test_rollout_plan import MANIFEST

WHOLE, DAMAGED, GOLDEN = b"whole" * 100, b"damaged" * 100, b"golden"
LINEAGE = Lineage(created_at="", created_by="ada", source="onnx", source_sha256="")
GATE = GateVerdict(gate="parity", passed=True, detail="")


class Broker:
    """A broker that stores messages and answers for the topics of `held`; after a loss of its store it has none."""

    def __init__(self) -> None:
        self.topics: list[str] = []
        self.messages: list[Retained] = []
        self.held: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.sentinels = Sentinels()
        self.sentinels.link = self  # type: ignore[assignment]

    def retain(self, messages: Iterable[Retained]) -> None:
        for message in messages:
            self.topics.append(message.topic)
            self.messages.append(message)

    def subscribe(self, topic: str) -> None:
        self.asked.append(topic)
        if topic in self.held:
            self.sentinels.saw(topic, self.held[topic])

    def unsubscribe(self, topic: str) -> None: ...


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def two_devices(tmp_path: Path) -> State:
    """Device `a` is to run model `m` in the bytes WHOLE, device `b` model `n` in the bytes DAMAGED."""
    made = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path))))
    for device, model, data in (("a", "m", WHOLE), ("b", "n", DAMAGED)):
        golden = replace(MANIFEST.golden, blob=describe(GOLDEN, 4096))
        manifest = replace(manifest_of(data), release=1, golden=golden)
        for blob in (data, GOLDEN):
            made.blobs.put(blob)
        made.registry.add(
            Version(model=model, release=1, manifest=manifest, lineage=LINEAGE, evidence={}, gates=(GATE,))
        )
        told = Assigned(release=1, generation=1, rollout="r", digest=sha256_hex(data))
        made.world.durable.twins[device] = Twin(device, document_version=1, issued_at=1, desired={model: told})
    return made


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    made = two_devices(tmp_path)
    yield made
    made.close()


def retained_of(state: State, clock: Clock | None = None) -> tuple[RetainedState, Broker]:
    broker, clock = Broker(), clock or Clock()
    made = RetainedState(
        state.world.durable,
        state.publisher,
        state.records,
        state.skipped,
        Foreign(clock),
        lost=broker.sentinels.lost,
        clock=clock,
    )
    made.link = broker
    return made, broker


def chunk_of(data: bytes) -> str:
    return sentinel(manifest_of(data).artifact)


def damage(state: State, data: bytes) -> None:
    state.blobs.path(sha256_hex(data)).write_bytes(b"XXXXX" + data[5:])


def test_five_damaged_bytes_of_one_blob_stop_no_other_rollout(state: State, caplog: pytest.LogCaptureFixture) -> None:
    damage(state, DAMAGED)
    clock = Clock()
    made, broker = retained_of(state, clock)
    with caplog.at_level(logging.ERROR, logger="edgeward"):
        asyncio.run(made.restore())
    assert {chunk_of(WHOLE), topics.desired("a"), topics.desired("b")} <= set(broker.topics)
    assert chunk_of(DAMAGED) not in broker.topics
    assert sha256_hex(DAMAGED) not in state.records.published()
    name = f"blob {sha256_hex(DAMAGED)}"
    assert "damaged" in made.skipped.why[name]
    assert sum(name in record.getMessage() for record in caplog.records) == 1

    clock.now += RETRY_S
    with caplog.at_level(logging.ERROR, logger="edgeward"):
        asyncio.run(made.try_again())
    assert sum(name in record.getMessage() for record in caplog.records) == 1, "the log names a cause once"
    state.blobs.path(sha256_hex(DAMAGED)).unlink()
    state.blobs.put(DAMAGED)  # a backup was restored
    asyncio.run(made.try_again())
    assert chunk_of(DAMAGED) not in broker.topics, "not read again at every pass"
    clock.now += RETRY_S
    asyncio.run(made.try_again())
    assert chunk_of(DAMAGED) in broker.topics
    assert name not in made.skipped.why


def test_a_damaged_blob_that_the_broker_has_lost_is_published_once_it_is_repaired(state: State) -> None:
    blob, clock = manifest_of(DAMAGED).artifact, Clock()
    state.records.save_published([blob])
    damage(state, DAMAGED)
    made, broker = retained_of(state, clock)

    async def all_of(blobs: Sequence[Blob]) -> set[str]:
        return {each.sha256 for each in blobs}

    made._lost = all_of
    asyncio.run(made.restore())
    assert made.skipped.why
    state.blobs.path(blob.sha256).write_bytes(DAMAGED)  # a backup was restored, the connection has not been away
    clock.now += RETRY_S
    asyncio.run(made.try_again())
    assert chunk_of(DAMAGED) in broker.topics
    assert made.skipped.why == {}


def test_a_version_missing_in_the_registry_holds_back_only_the_documents_that_name_it(state: State) -> None:
    twins = state.world.durable.twins
    lost = Assigned(release=77, generation=2, rollout="r")
    twins["b"] = replace(twins["b"], desired={"n": lost})
    clock = Clock()
    made, broker = retained_of(state, clock)
    asyncio.run(made.restore())
    assert topics.desired("a") in broker.topics
    assert topics.desired("b") not in broker.topics
    assert "unknown_version" in made.skipped.why["desired b"]
    twins["b"] = replace(twins["b"], desired={})
    clock.now += RETRY_S
    asyncio.run(made.try_again())
    assert topics.desired("b") in broker.topics
    assert "desired b" not in made.skipped.why


def test_any_number_of_lost_blobs_is_checked_in_one_wait(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentinels, "SENTINEL_WAIT_S", 0.2)
    whole, damaged = manifest_of(WHOLE).artifact, manifest_of(DAMAGED).artifact
    state.records.save_published([whole, damaged])
    made, broker = retained_of(state)
    broker.held = {chunk_of(WHOLE): WHOLE, topics.chunk_list(whole.sha256): chunk_list(WHOLE, whole.chunk_bytes)}
    broker.held[chunk_of(DAMAGED)] = DAMAGED
    broker.held[topics.chunk_list(damaged.sha256)] = b"somebody has written over it while nobody looked"

    async def restore() -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await made.restore()
        return loop.time() - began

    took_s = asyncio.run(restore())
    lists = {topics.chunk_list(blob.sha256) for blob in (whole, damaged)}
    assert set(broker.asked) == {chunk_of(WHOLE), chunk_of(DAMAGED), *lists}
    assert chunk_of(WHOLE) not in broker.topics
    assert chunk_of(DAMAGED) in broker.topics
    assert took_s < 0.4, "two waits, one after the other, would be 0.4 s"


def test_a_document_that_another_client_overwrote_is_published_again(state: State) -> None:
    retained, broker = retained_of(state)
    asyncio.run(retained.ensure_blobs())
    right = state.publisher.desired(state.world.durable.twins["a"]).payload
    whole = describe(WHOLE, 4096)
    for topic, payload in (
        (topics.desired("a"), b"EVIL"),
        (topics.trust(), b""),
        (topics.root(1), b"EVIL"),
        (topics.chunk_list(whole.sha256), b"EVIL"),
        (topics.chunk(whole.sha256, 0), b"EVIL"),
        (topics.desired("stranger"), b"EVIL"),
        ("edgeward/v1/pub/whatever", b"not ours to judge"),
    ):
        assert retained.saw(topic, payload, retained=True)
    broker.messages.clear()
    assert not retained.put_right()
    found = {message.topic: message.payload for message in broker.messages}
    assert found[topics.desired("a")] == right
    assert found[topics.trust()] == state.trust_metadata.trust_bundle()
    assert found[topics.root(1)] == state.trust_metadata.root().encode()
    assert found[topics.chunk(whole.sha256, 0)] == WHOLE
    assert found[topics.desired("stranger")] == b""
    assert len(found) == 6
    assert retained.foreign.count == 6


def test_identical_bytes_from_another_client_and_unretained_messages_are_no_fault(state: State) -> None:
    retained, broker = retained_of(state)
    right = state.publisher.desired(state.world.durable.twins["a"])
    assert retained.saw(right.topic, right.payload, retained=True), "a bridge that says what we have said"
    assert retained.saw(right.topic, b"EVIL", retained=False), "heard once, and kept by nobody"
    retained.put_right()
    assert (broker.topics, retained.foreign.count) == ([], 0)


def test_a_message_retained_by_a_device_on_another_topic_than_presence_is_cleared_and_ignored(state: State) -> None:
    retained, broker = retained_of(state)
    assert retained.saw(topics.heartbeat("a"), b"junk", retained=True)
    assert retained.saw("edgeward/v1/d/Bad Name/up/report", b"junk", retained=True)
    assert retained.saw(topics.presence("a"), b" " * (module.MAX_PRESENCE_BYTES + 1), retained=True)
    assert not retained.saw(topics.presence("a"), b"{}", retained=True)
    assert not retained.saw(topics.heartbeat("a"), b"{}", retained=False)
    assert not retained.saw(topics.heartbeat("a"), b"", retained=True), "the clearing itself"
    retained.put_right()
    cleared = {topics.heartbeat("a"), "edgeward/v1/d/Bad Name/up/report", topics.presence("a")}
    assert {(message.topic, message.payload) for message in broker.messages} == {(topic, b"") for topic in cleared}


def test_two_clients_that_overwrite_a_topic_publish_less_and_less_often() -> None:
    clock = Clock()
    foreign, said = Foreign(clock), []
    for second in range(3600):
        clock.now = float(second)
        foreign.saw("t", b"mine")
        for topic, _ in foreign.due():
            foreign.put_right(topic)
            said.append(second)
    waits = [after - before for before, after in pairwise(said)]
    assert said[0] == 0
    assert waits[0] == AGAIN_MIN_S
    assert max(waits) == AGAIN_MAX_S
    assert len(said) < 25
    assert foreign.told() == {"t": f"put right {len(said)} times"}
    clock.now += TOLD_S + 1 + AGAIN_MAX_S
    assert foreign.told() == {}


def test_a_client_that_alternates_right_and_wrong_messages_is_answered_no_faster(state: State) -> None:
    clock = Clock()
    retained, broker = retained_of(state, clock)
    right = state.publisher.desired(state.world.durable.twins["a"])
    for second in range(600):
        clock.now = float(second)
        retained.saw(right.topic, b"EVIL" if second % 2 else right.payload, retained=True)
        retained.put_right()
    assert 2 <= len(broker.topics) < 12


def test_a_client_that_overwrites_too_many_topics_causes_one_publication_of_everything(state: State) -> None:
    clock = Clock()
    retained, broker = retained_of(state, clock)
    for number in range(3 * MAX_TOPICS):
        retained.saw(topics.desired(f"d{number}"), b"EVIL", retained=True)
    everything = []
    for second in range(MAX_TOPICS // MAX_AT_ONCE + 2):
        clock.now = float(second)
        before = len(broker.topics)
        everything.append(retained.put_right())
        assert len(broker.topics) - before <= MAX_AT_ONCE
    assert everything.count(True) == 1
    assert EVERYTHING in retained.foreign.told()


def test_a_blob_that_a_device_cannot_fetch_is_published_again_a_limited_number_of_times(state: State) -> None:
    clock = Clock()
    made, broker = retained_of(state, clock)
    asyncio.run(made.restore())
    broker.topics.clear()
    for _ in range(3):
        made.doubt("a", "m")
        made.doubt("a", "n")  # it is not to run that
        made.doubt("stranger", "m")
        asyncio.run(made.publish(frozenset(), again=False, trust_changed=False))
    assert broker.topics.count(chunk_of(WHOLE)) == 1
    assert chunk_of(DAMAGED) not in broker.topics
    for times, wait_s in ((2, DOUBT_S), (2, DOUBT_S), (3, DOUBT_S)):
        clock.now += wait_s
        made.doubt("a", "m")
        asyncio.run(made.publish(frozenset(), again=False, trust_changed=False))
        assert broker.topics.count(chunk_of(WHOLE)) == times, "twice as long each time"
    for _ in range(1000):
        clock.now += DOUBT_S
        made.doubt("a", "m")
        asyncio.run(made.publish(frozenset(), again=False, trust_changed=False))
    assert broker.topics.count(chunk_of(WHOLE)) < 3 + 10 + 1000 * DOUBT_S / DOUBT_MAX_S


def test_a_report_of_a_stalled_transfer_causes_the_check_of_its_blob(state: State) -> None:
    service = Service(state)
    doubted: list[tuple[str, str]] = []
    service._retained.doubt = lambda device, model: doubted.append((device, model))  # type: ignore[method-assign]
    for code in ("", "health_accuracy", "transfer_stalled"):
        stalled = ModelState(model="m", phase="fetching", generation=1, code=code)
        service.reported([("a", Report(protocol=1, device="a", boot=1, seq=1, state=stalled))])
    assert doubted == [("a", "m")]
