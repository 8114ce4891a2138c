"""The bytes in which a version is sent to each device: prepared by the controller, chosen by the device's reports."""

import asyncio
import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from contract.blobs import describe, sha256_hex
from contract.desired import Delivery
from contract.encoding import ENCODING
from contract.manifest import Manifest
from contract.messages import Progress, VersionRef
from controller.api.rollout_views import rollout_view
from controller.config import Config, StorageConfig
from controller.encode import deliveries
from controller.fleet.twin import Twin
from controller.reconcile.decisions import reconcile
from controller.reconcile.offers import delivery_for
from controller.reconcile.preview import plan_rollout, preview
from controller.reconcile.world import Durable, World
from controller.state import open_state
from tests.controller.rollout_worlds import STRATEGY
from tests.controller.test_rollout_plan import MANIFEST, twin

OLD = os.urandom(60_000)
NEW = OLD[:20_000] + b"a few new bytes" + OLD[20_000:]
AT_ONCE = replace(STRATEGY, waves=STRATEGY.waves[1:])


def manifest_of(data: bytes) -> Manifest:
    return replace(MANIFEST, artifact=describe(data, 4096))


def holding(name: str, data: bytes, encodings: tuple[str, ...] = (ENCODING,)) -> Twin:
    made = twin(name, encodings=encodings)
    state = replace(made.reported["m"], stable=VersionRef(release=1, digest=sha256_hex(data)))
    return replace(made, reported={"m": state})


def delivery(size_bytes: int, base: str = "") -> Delivery:
    return Delivery(encoding=ENCODING, blob=describe(bytes(size_bytes), 4096), base=base)


def test_a_version_is_encoded_against_the_versions_in_the_fleet_and_the_encoding_survives_a_restart(
    tmp_path: Path,
) -> None:
    state = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path))))
    try:
        for data in (OLD, NEW):
            state.blobs.put(data)
        state.world.durable.twins = {"a": holding("a", OLD), "b": holding("b", OLD)}
        asyncio.run(state.deliveries.ready("m", manifest_of(NEW)))
        found = state.world.durable.deliveries[sha256_hex(NEW)]
        assert set(found) == {sha256_hex(OLD)}, "random bytes do not shrink by themselves"
        assert found[sha256_hex(OLD)].blob.length < 500
        again = state.records.load_world({}, 90.0)
        assert again.durable.deliveries == state.world.durable.deliveries
        assert state.deliveries._missing("m", manifest_of(NEW)) == [], "what saves nothing is not tried twice"
    finally:
        state.close()


def test_a_base_too_small_to_save_bytes_is_not_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[Path | None] = []

    async def search(target: Path, base: Path | None, packed: Path) -> None:
        searched.append(base)
        packed.write_bytes(target.read_bytes())

    monkeypatch.setattr(deliveries, "_run_child", search)
    state = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path))))
    try:
        for data in (OLD[:2_000], NEW):
            state.blobs.put(data)
        state.world.durable.twins = {"a": holding("a", OLD[:2_000])}
        asyncio.run(state.deliveries.ready("m", manifest_of(NEW)))
        assert searched == [None]
        assert state.deliveries._missing("m", manifest_of(NEW)) == []
    finally:
        state.close()


def test_each_device_gets_the_smallest_encoding_that_it_can_decode() -> None:
    base = sha256_hex(OLD)
    world = World(silent_s=90.0)
    world.durable.deliveries["new"] = {"": delivery(5000), base: delivery(100, base), "0" * 64: delivery(1, "0" * 64)}
    chosen = {
        "has the base": holding("a", OLD),
        "has another": holding("b", NEW),
        "knows no encoding": holding("c", OLD, ()),
        "never reported": Twin("d"),
    }
    lengths = {
        name: (delivery_for(world, each, "m", "new") or delivery(9999)).blob.length for name, each in chosen.items()
    }
    assert lengths == {"has the base": 100, "has another": 5000, "knows no encoding": 9999, "never reported": 9999}


def world_with(delivered: bool) -> World:
    made = World(silent_s=90.0, durable=Durable({"a": replace(holding("a", OLD), document_version=1)}))
    if delivered:
        made.durable.deliveries[sha256_hex(NEW)] = {sha256_hex(OLD): delivery(100, sha256_hex(OLD))}
    manifest = manifest_of(NEW)
    made.durable.rollouts["r"] = plan_rollout(made, manifest, AT_ONCE, name="r", model="m", selector={}, now=0.0)
    return made


def test_the_plan_counts_the_bytes_to_send_and_the_document_names_the_encoding() -> None:
    golden = MANIFEST.golden.blob.length
    for delivered, length in ((True, 100), (False, len(NEW))):
        made = world_with(delivered)
        assert preview(made, made.durable.rollouts["r"], 0.0).bytes_to_send == length + golden
        reconcile(made, [], 1.0)
        assigned = made.durable.twins["a"].desired["m"]
        assert (assigned.delivery is not None) == delivered


def test_a_rollout_reports_bytes_sent_rate_and_expected_end() -> None:
    made = world_with(delivered=False)
    reconcile(made, [], 1.0)
    before = rollout_view(made.durable.rollouts["r"], made, 10.0).transfer
    assert (before.done_bytes, before.eta_s) == (0, None)
    generation = made.durable.twins["a"].desired["m"].generation
    for phase, progress, done in (("fetching", 20_000, 20_000), ("probing", 0, before.total_bytes)):
        state = replace(
            made.durable.twins["a"].reported["m"],
            phase=phase,
            generation=generation,
            progress=Progress(done_bytes=progress, total_bytes=len(NEW)),
        )
        made.durable.twins["a"] = replace(made.durable.twins["a"], reported={"m": state})
        seen = rollout_view(made.durable.rollouts["r"], made, 10.0).transfer
        assert (seen.done_bytes, seen.bytes_s) == (done, done / 10.0)
        assert seen.eta_s == (before.total_bytes - done) / seen.bytes_s
