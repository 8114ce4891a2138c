"""Rollouts: how often bad releases are stopped in time over many seeds, and how fast a controller offers to a fleet.

EDGEWARD_SEEDS is the number of seeds for each scenario; the default is 20. Results: benchmarks/results/rollouts.md.
"""

import asyncio
import gc
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

import paho.mqtt.client as paho

from benchmarks.table import Row
from contract import topics
from contract.messages import Hardware, Heartbeat
from controller.config import BrokerConfig, Config, StorageConfig
from controller.reconcile.decisions import reconcile
from controller.rollout.model import FINAL, Rollout
from controller.rollout.strategies import ALL_AT_ONCE
from controller.service import Service
from controller.state import State, open_state
from controller.verbs import rollouts
from controller.verbs.push import push
from firmware_sim.checkers.fleet import safety
from firmware_sim.checkers.law import Violation
from firmware_sim.scenario import Scenario, load_scenario
from firmware_sim.world import FleetWorld

SCENARIOS = Path(__file__).parents[1] / "configs" / "scenarios"
OFFERS = 20_000
BROKER_PORT = 8981
WAIT_S = 300.0
_HARDWARE = Hardware(machine="x86_64", cpus=4, memory_mb=4000, python="3.11", onnxruntime="1.32.0", agent="0.1.0")

STEP_S = 100.0
_NOT_YET = Rollout(id="r-2", model="m", release=2, digest="", strategy=ALL_AT_ONCE, members=())

Judge = Callable[[FleetWorld, Rollout], bool]


def measure() -> list[Row]:
    """Returns the rows of this benchmark."""
    seeds = int(os.environ.get("EDGEWARD_SEEDS", "20"))
    rows = [_ratio_stopped(name, seeds, goal) for name, goal in (("worse_model", 0.99), ("slower_model", 0.99))]
    rows += [_ratio_stopped("crash_on_one_stratum", seeds, 0.99), _ratio_stopped("drifting_world", seeds, 0.95)]
    return [*rows, *_offers()]


def _ratio_stopped(name: str, seeds: int, goal: float) -> Row:
    good = ratio_ended_well(load_scenario(SCENARIOS / f"{name}.toml"), seeds)
    return Row(f"{name}, {seeds} seeds: {_WORDS[name]}", good, 1.0, "", "all seeds", goal, at_least=True)


def ratio_ended_well(scenario: Scenario, seeds: int) -> float:
    """Returns the fraction of seeds in which the second rollout ended as it must in the world of this name."""
    with get_context("spawn").Pool(os.cpu_count()) as pool:
        return sum(pool.starmap(_ends_well, [(scenario, seed) for seed in range(seeds)], chunksize=4)) / seeds


def _ends_well(scenario: Scenario, seed: int) -> bool:
    """Runs one seed until the second rollout has ended, and returns whether it ended as expected.

    Every device must have been safe at every moment.
    """
    gc.disable()
    world = FleetWorld(scenario, seed)
    while world.clock.now < world.scenario.ends_at_s and _second(world).status not in FINAL:
        world.clock.run(world.clock.now + STEP_S)
    gc.enable()
    try:
        safety(world)
    except Violation:
        return False
    return _ENDS[scenario.name](world, _second(world))


def _second(world: FleetWorld) -> Rollout:
    """Returns the second rollout in its last state. Before it has begun, returns a rollout without members."""
    return {rollout.id: rollout for _, rollout in world.controller.history}.get("r-2", _NOT_YET)


def _stopped_in_time(world: FleetWorld, rollout: Rollout) -> bool:
    return rollout.status == "rolled_back" and _reached(world, rollout) <= _canaries(world)


def _one_stratum_only(world: FleetWorld, rollout: Rollout) -> bool:
    alone = rollout.status == "completed" and rollout.stopped_strata == ("small",)
    hit = [
        device for device in world.devices.values() if world.strata[device.name].name == "small" and device.boots > 1
    ]
    return alone and len(hit) / len(world.devices) <= _canaries(world)


def _canaries(world: FleetWorld) -> float:
    """Returns the fraction of the fleet in the first wave, the least that a bad release can reach."""
    percent = world.scenario.strategy.waves[0].percent
    assert percent is not None, "a wave of these worlds is a part of each stratum"
    return float(percent) / 100


def _completed(world: FleetWorld, rollout: Rollout) -> bool:
    return rollout.status == "completed" and _reached(world, rollout) == 1.0


def _reached(world: FleetWorld, rollout: Rollout) -> float:
    """Returns the fraction of the fleet on which the release has served at any time."""
    served = sum(any(moment.serving == rollout.digest for moment in d.history) for d in world.devices.values())
    return served / len(world.devices)


_ENDS: dict[str, Judge] = {
    "worse_model": _stopped_in_time,
    "slower_model": _stopped_in_time,
    "crash_on_one_stratum": _one_stratum_only,
    "drifting_world": _completed,
}
_WORDS = {
    "worse_model": "stopped within the canaries",
    "slower_model": "stopped within the canaries",
    "crash_on_one_stratum": "that kind alone went back",
    "drifting_world": "not blamed",
}


def _offers() -> list[Row]:
    if shutil.which("mosquitto") is None:
        print("rollouts: mosquitto is missing, so offers are not counted", file=sys.stderr)
        return []
    with tempfile.TemporaryDirectory() as scratch:
        per_minute, small_kb, large_kb = asyncio.run(_offer_to_all(Path(scratch)))
    return [
        Row(
            f"offers a minute, {OFFERS} devices, Mosquitto",
            per_minute,
            100_000,
            "1/min",
            "the goal",
            1.0,
            at_least=True,
        ),
        Row(f"memory a device, {OFFERS} devices", large_kb, small_kb, "kB", f"{OFFERS // 10} devices", 1.3),
    ]


async def _offer_to_all(scratch: Path) -> tuple[float, float, float]:
    from sklearn.linear_model import LogisticRegression

    from edgeward.encode import encode_model, encode_rows

    config = Config(storage=StorageConfig(data_dir=str(scratch)), broker=BrokerConfig(port=BROKER_PORT))
    state = open_state(config)
    service = Service(state)
    await service.start()
    rows = [[float(x), float(-x)] for x in range(60)]
    kind, raw = encode_model(LogisticRegression().fit(rows, [int(x > 30) for x in range(60)]))
    (scratch / "model").write_bytes(raw)
    (scratch / "sample").write_bytes(encode_rows(rows))
    await push(state, "m", kind, scratch / "model", scratch / "sample", actor="bench", tags={})
    bare_kb = _rss_kb()
    _meet(state, 0, OFFERS // 10)
    small_kb = (_rss_kb() - bare_kb) / (OFFERS // 10)
    _meet(state, OFFERS // 10, OFFERS)
    large_kb = (_rss_kb() - bare_kb) / OFFERS
    heard = _Listener()
    began_s = time.perf_counter()
    rollouts.start(state, "m", None, ALL_AT_ONCE, {}, actor="bench")
    await asyncio.to_thread(heard.all.wait, WAIT_S)
    took_s = time.perf_counter() - began_s
    heard.stop()
    await service.stop()
    assert len(heard.seen) == OFFERS, f"{len(heard.seen)} of {OFFERS} documents arrived"
    return OFFERS * 60 / took_s, small_kb, large_kb


def _meet(state: State, first: int, last: int) -> None:
    beats = [
        Heartbeat(protocol=1, device=f"d{number:06}", boot=1, seq=1, uptime_s=1, hardware=_HARDWARE)
        for number in range(first, last)
    ]
    reconcile(state.world, [(beat.device, beat) for beat in beats], time.time())


class _Listener:
    """One client that subscribes to the documents of all devices."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self.all = threading.Event()
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self._client.on_message = self._message
        self._client.connect("127.0.0.1", BROKER_PORT)
        self._client.subscribe(topics.desired("any").replace("any", "+"), qos=0)
        self._client.loop_start()
        time.sleep(0.5)

    def _message(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        self.seen.add(message.topic)
        if len(self.seen) == OFFERS:
            self.all.set()

    def stop(self) -> None:
        """Disconnects from the broker."""
        self._client.disconnect()
        self._client.loop_stop()


def _rss_kb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("VmRSS"))
