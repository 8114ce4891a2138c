"""A device that sends the most extreme numbers that decode costs itself alone: passes, roll-ups, views, data sets."""

import asyncio
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from aiohttp.test_utils import TestClient, TestServer
from msgspec.structs import replace

from contract import topics
from contract.blobs import describe
from contract.captured import Captured, CapturedRow
from contract.golden import join_golden
from contract.messages import Hardware, Heartbeat, ModelInterval, ModelState, Telemetry, VersionRef
from contract.tensors import encode_tensors
from contract.wire import encode
from controller.api.app import make_app
from controller.config import Config, StorageConfig
from controller.events.notifier import Notifier
from controller.rollout.facts import Sums
from controller.rollout.model import Rollout
from controller.rollout.plan import expand, plan_members
from controller.service import Service
from controller.state import State, open_state
from controller.verbs import alerts, drift
from tests.controller.extremes import Drawn
from tests.controller.registry_worlds import CHUNK_BYTES, manifest, version
from tests.controller.rollout_worlds import STRATEGY, targets

HONEST = ("h1", "h2", "h3", "h4")
HARDWARE = Hardware(machine="x86_64", cpus=2, memory_mb=512, python="3.11", onnxruntime="1.32", agent="0.1.0")
LIAR = "liar"
VIEWS = (
    "fleet", "fleet/cells", "devices", "devices/h1", "devices/liar", "devices/liar/why", "devices/liar/vitals",
    "devices?limit=3", "models", "models/{m}/versions", "models/{m}/versions/1", "models/{m}/versions/1/fit",
    "models/{m}/quality", "models/{m}/drift", "models/{m}/fairness", "models/{m}/signals", "models/{m}/captured",
    "models/{m}/labels/wanted", "models/{m}/telemetry", "models/{m}/telemetry?every=minute&by=device",
    "models/{m}/lineage", "alerts", "rollouts", "rollouts/r-1", "rollouts/r-1/explain", "rollouts/r-1/members",
    "rollouts/r-1/events", "health", "watcher", "watcher/history", "retraining", "audit", "audit/export",
    "changes?hours=24", "data",
)  # fmt: skip


def opened(directory: Path) -> State:
    state = open_state(Config(storage=StorageConfig(data_dir=str(directory))))
    if not state.registry.registered:
        rows = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
        golden = encode_tensors(join_golden({"X": rows}, {"label": np.arange(8) % 2}))
        state.blobs.put(golden)
        described = replace(manifest().golden, blob=describe(golden, CHUNK_BYTES))
        for model, task in (("m", "classification"), ("n", "regression")):
            for release in (1, 2):
                classes = ("0", "1") if model == "m" else ()
                made = version(release, model, f"{model}{release}".encode(), task=task, classes=classes)
                state.registry.add(replace(made, manifest=replace(made.manifest, golden=described)))
    return state


def reference(model: str, release: int, state: State) -> VersionRef:
    return VersionRef(release=release, digest=state.registry.version(model, release).manifest.artifact.sha256)


def begin_rollout(state: State) -> None:
    chosen = targets([*HONEST, LIAR])
    expanded, ref = expand(STRATEGY, chosen), reference("m", 1, state)
    members = plan_members("m v2", chosen, expanded, {target.device: ref for target in chosen})
    digest = reference("m", 2, state).digest
    state.world.durable.rollouts["r-1"] = Rollout(
        id="r-1", model="m", release=2, digest=digest, strategy=expanded, members=members, status="running",
        began_at=time.time() - 60,
    )  # fmt: skip


def honest(state: State) -> None:
    for device in HONEST:
        head: dict[str, Any] = {"protocol": 1, "device": device, "boot": 1}
        ref = reference("m", 1, state)
        serving = ModelState(model="m", phase="steady", generation=0, stable=ref, serving=ref.digest)
        beat = Heartbeat(**head, seq=1, uptime_s=5, hardware=HARDWARE, models=(serving,))
        counts: dict[str, Any] = {"inferences": 50, "errors": 1, "rows": 50}
        said = Telemetry(
            **head, seq=2, interval_s=30.0, intervals=(
                ModelInterval(
                    model="m", version=ref, labelled=40, correct=30, latency_counts=(0, 25, 25), outputs=(1, 2, 3),
                    predictions={"0": 20, "1": 30}, features={"a": (5, 5)}, **counts,
                ),
                ModelInterval(
                    model="n", version=reference("n", 1, state), labelled=2, measured=2, absolute_error_sum=1.0,
                    squared_error_sum=0.5, label_sum=3.0, squared_label_sum=5.0, **counts,
                ),
            ),
        )  # fmt: skip
        rows = tuple(
            CapturedRow(
                at=time.time() - 60, model="m", release=1, why="hard", inputs={"a": 1.0 + n, "b": 2.0, "c": None},
                value="1", confidence=0.5, label="1", id=f"{device}-{n}",
            )
            for n in range(3)
        )  # fmt: skip
        assert state.inbox.put(topics.heartbeat(device), encode(beat))
        assert state.inbox.put(topics.telemetry(device), encode(said))
        assert state.inbox.put(topics.captured(device), encode(Captured(**head, seq=3, rows=rows)))


def figures(state: State) -> dict[str, Any]:
    """What is known of honest devices, and nothing that time changes."""
    kept = {key: sums for key, sums in state.world.measured.totals.items() if key[0] in HONEST}
    stored: dict[tuple[str, str, int], Sums] = {}
    for model in ("m", "n"):
        for device, release, _, sums in state.telemetry.past(model, 0.0):
            if device in HONEST:
                key = device, model, release
                stored[key] = stored.get(key, Sums()).plus(sums)
    rows = [(device, row.inputs, row.label) for _, device, row in state.captures.rows_of("m") if device in HONEST]
    return {"totals": kept, "stored": stored, "rows": rows}


async def look_everywhere(state: State, service: Service) -> None:
    await service.one_pass()
    await drift.look_at_all(state, time.time())
    state.alerts.next_look = 0.0
    await alerts.look_again(state, Notifier((), state.config.data_dir, lambda *_: None))
    async with TestClient(TestServer(make_app(state, "edg_test"))) as client:
        client.session.headers["Authorization"] = "Bearer edg_test"
        for view in VIEWS:
            for model in ("m", "n") if "{m}" in view else ("",):
                path = "/v1/" + view.replace("{m}", model)
                answer = await client.get(path)
                assert answer.status < 500 or path == "/v1/health", (path, await answer.text())
        assert (await client.get("/metrics")).status == 200
        for _ in range(2):
            made = await client.post("/v1/data/rows", data=encode({"model": "m"}))
            assert made.status < 300, await made.text()
        compared = await client.get("/v1/data/rows/compare/1/1")
        assert compared.status == 200, await compared.text()


def survives(directory: Path, seed: int, messages: int) -> None:
    state = opened(directory)
    honest(state)
    asyncio.run(Service(state).one_pass())
    begin_rollout(state)
    before = figures(state)
    refs = [msgspec.to_builtins(reference("m", release, state)) for release in (1, 2)]
    drawn = Drawn(LIAR, seed, {"model": ("m", "m", "n"), "version": tuple(refs), "release": (1, 2), "why": ("hard",)})
    heard = 0
    for _ in range(messages):
        topic, payload = drawn.message()
        state.inbox._allowance._left.clear()
        heard += state.inbox.put(topic, payload)
    assert heard > messages // 2, "most of them decode: this is no test of the decoder"
    asyncio.run(look_everywhere(state, Service(state)))
    assert figures(state) == before
    for later_s in (3 * 3600, 40 * 86_400, 42 * 86_400):
        for _ in range(3):
            state.telemetry.tend(time.time() + later_s)
    well(state)
    state.close()
    again = opened(directory)
    asyncio.run(look_everywhere(again, Service(again)))
    assert figures(again) == before | {"totals": {}}, "minutes have become hours, and hours days"
    well(again)
    again.close()


def well(state: State) -> None:
    assert state.steps.failures == {}
    assert state.world.measured.left_out.unusable_told() == {}


def test_extreme_numbers_of_one_device_break_nothing_and_change_no_other_devices_figures(tmp_path: Path) -> None:
    survives(tmp_path, seed=1, messages=30)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(2, 60))
def test_extreme_numbers_of_one_device_break_nothing_for_long(tmp_path: Path, seed: int) -> None:
    survives(tmp_path, seed, messages=1_000)
