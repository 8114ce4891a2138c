"""What the broker is given: each document and each blob by itself, so that a bad one costs nobody else anything."""

import asyncio
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from contract import topics
from contract.blobs import describe, sha256_hex
from controller.broker import retained as module
from controller.broker.messages import Retained, sentinel
from controller.broker.retained import RetainedState
from controller.broker.skipped import RETRY_S
from controller.config import Config, StorageConfig
from controller.fleet.twin import Assigned, Twin
from controller.gates.verdict import GateVerdict
from controller.registry.registry import Lineage, Version
from controller.state import State, open_state
from tests.controller.test_deliveries import manifest_of
from tests.controller.test_rollout_plan import MANIFEST

WHOLE, DAMAGED, GOLDEN = b"whole" * 100, b"damaged" * 100, b"golden"
LINEAGE = Lineage(created_at="", created_by="ada", source="onnx", source_sha256="")
GATE = GateVerdict(gate="parity", passed=True, detail="")


class Broker:
    """Holds what it is given, and answers for the topics of `held`; one that has lost its store holds nothing."""

    def __init__(self) -> None:
        self.topics: list[str] = []
        self.held: set[str] = set()
        self.asked: list[str] = []
        self.saw = lambda _topic: False

    def retain(self, messages: Iterable[Retained]) -> None:
        self.topics += [message.topic for message in messages]

    def subscribe(self, topic: str) -> None:
        self.asked.append(topic)
        if topic in self.held:
            self.saw(topic)

    def unsubscribe(self, topic: str) -> None: ...


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
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
    yield made
    made.close()


def retained_of(state: State, clock: Clock | None = None) -> tuple[RetainedState, Broker]:
    broker = Broker()
    made = RetainedState(state.world.durable, state.publisher, state.records, state.skipped, clock or Clock())
    made.link = broker  # type: ignore[assignment]
    broker.saw = made.saw
    return made, broker


def chunk_of(data: bytes) -> str:
    return sentinel(manifest_of(data).artifact)


def damage(state: State, data: bytes) -> None:
    state.blobs.path(sha256_hex(data)).write_bytes(b"XXXXX" + data[5:])


def test_five_damaged_bytes_of_one_blob_cost_no_other_device_its_rollout(
    state: State, caplog: pytest.LogCaptureFixture
) -> None:
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
    state.blobs.put(DAMAGED)  # a backup has come back
    asyncio.run(made.try_again())
    assert chunk_of(DAMAGED) not in broker.topics, "not read again at every pass"
    clock.now += RETRY_S
    asyncio.run(made.try_again())
    assert chunk_of(DAMAGED) in broker.topics
    assert name not in made.skipped.why


def test_a_version_that_the_registry_lacks_keeps_back_the_documents_that_name_it_and_no_others(state: State) -> None:
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


def test_however_many_blobs_a_broker_has_lost_they_are_looked_for_in_one_wait(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SENTINEL_WAIT_S", 0.2)
    state.records.save_published([manifest_of(WHOLE).artifact, manifest_of(DAMAGED).artifact])
    made, broker = retained_of(state)
    broker.held = {chunk_of(WHOLE)}

    async def restore() -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await made.restore()
        return loop.time() - began

    took_s = asyncio.run(restore())
    assert set(broker.asked) == {chunk_of(WHOLE), chunk_of(DAMAGED)}
    assert chunk_of(WHOLE) not in broker.topics
    assert chunk_of(DAMAGED) in broker.topics
    assert took_s < 0.4, "two waits, one after the other, would be 0.4 s"
