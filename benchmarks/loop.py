"""When to retrain: never, daily, on drift, by Edgeward's policy, and by an oracle that has the future data, on four
real series.

Prints the table and measures the regret to the oracle: the part of the oracle's gain over `never` that ours misses,
with all costs counted, over the four series together. `ours` is the code of the controller: its pure policy, asked once
a day, and its champion gate.
"""

import lzma
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor

from benchmarks.loop_freshness import freshness
from benchmarks.loop_kept import kept
from benchmarks.loop_policies import ours
from benchmarks.loop_schedules import best_interval, daily
from benchmarks.loop_streams import Stream, streams
from benchmarks.loop_world import DEVICES, World
from benchmarks.loop_yardsticks import Life, never, on_drift, oracle
from benchmarks.table import Row
from controller.gates.champion import change
from controller.retraining.policy import RetrainingPolicy

POLICY = RetrainingPolicy()
GOAL = 0.25
SHARED = ("never", "ours", "oracle", "best interval", "on drift")
"""Policies that use the models of the same weeks, so that one process runs them."""

_ATTEMPTS = (
    "| day | proposed by: decided because | gain at the gate | verdict | true gain in the 28 days after |\n"
    + "|---" * 5
) + "|"

Lived = dict[str, tuple[Life, float]]
"""The course of one stream and its utility, by policy."""
Lives = dict[str, Lived]


def measure() -> list[Row]:
    """Runs every policy on every stream: six minutes of two cores the first time, most of them for the daily trainings.

    The daily trainings of a stream are a task of their own. The longest tasks begin first, so that no core waits.
    """
    tasks = [(stream.name, part) for part in (("daily",), SHARED) for stream in sorted(streams(), key=_trainings)]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        parts = list(pool.map(_lived, tasks))
    found = {stream.name: _joined(stream.name, parts) for stream in streams()}
    _print(found)
    _print_attempts(found)
    return _rows(found)


def _rows(found: Lives) -> list[Row]:
    gains = [(lives["oracle"][1] - lives["never"][1], lives["ours"][1] - lives["never"][1]) for lives in found.values()]
    whole, won = (sum(column) for column in zip(*gains, strict=True))
    trap, quiet = found["appliances"]["ours"][0], found["traffic"]["ours"][0]
    rows = [
        Row("regret to the oracle, four streams", (whole - won) / whole, 1.0, "of its gain", "all of it", GOAL),
        Row("traffic: trainings", quiet.trainings, 0.0, "trainings", "none is wanted", 0.0, absolute=True),
        Row("appliances: candidates that were sent", trap.sent, trap.trainings, "of", "trained", 0.0, absolute=True),
    ]
    for name, lives in found.items():
        part = lives["oracle"][1] - lives["never"][1]
        rows.append(Row(f"{name}: regret", (part - lives["ours"][1] + lives["never"][1]) / part, 1.0, "", "its gain"))
        won, planned = (lives[policy][1] - lives["never"][1] for policy in ("ours", "best interval"))
        rows.append(Row(f"{name}: gain", won, planned, "answers", "the best interval, known from later data"))
    return rows


def _print_attempts(found: Lives) -> None:
    """Prints every attempt of Edgeward's policy, and how much a newer model gains at all."""
    for stream, lives in found.items():
        print(f"\n{stream}: {lives['ours'][0].told[0]}\n\n" + _ATTEMPTS)
        print("\n".join(lives["ours"][0].told[1:]))


def _trainings(stream: Stream) -> float:
    """A key that puts streams with many days first, because each day is a training."""
    return -float(stream.at[-1] - stream.at[0])


def _joined(name: str, parts: Sequence[tuple[str, Lived]]) -> Lived:
    both = {policy: lived for stream, found in parts if stream == name for policy, lived in found.items()}
    return {policy: both[policy] for policy in (*SHARED, "daily")}


def _lived(task: tuple[str, tuple[str, ...]]) -> tuple[str, Lived]:
    """The results of some policies on one stream, which share their models, computed in one process."""
    name, policies = task
    return name, _lives(_world(next(each for each in streams() if each.name == name)), policies)


def _world(stream: Stream) -> World:
    world = World(stream)
    world.size_bytes = _size_bytes(world)
    return world


def _size_bytes(world: World) -> int:
    """Returns the size of a version as it is sent: the ONNX form of one forest in xz."""
    from skl2onnx import to_onnx

    model, rows = world.fit(0, world.begins), world.stream.rows
    raw = to_onnx(model, rows[:1], options={id(model): {"zipmap": False}}).SerializeToString()
    return len(lzma.compress(raw))


def _lives(world: World, policies: tuple[str, ...]) -> Lived:
    """Returns by policy the course of the series, and its utility."""
    costs = POLICY.costs
    yardsticks: dict[str, Callable[[], Life]] = {
        "never": lambda: never(world),
        "oracle": lambda: oracle(world, costs),
        "on drift": lambda: on_drift(world),
        "best interval": lambda: best_interval(world, costs),
        "daily": lambda: daily(world),
    }
    found = {}
    for name in policies:
        life = ours(world, POLICY) if name == "ours" else kept(world, name, costs, yardsticks[name])
        life.size_bytes = world.size_bytes
        if name == "ours":
            fresh = change(kept(world, "freshness", costs, lambda: freshness(world)), classifies=True)
            life.told.insert(0, f"a model gains {fresh} over one that is four weeks older")
        found[name] = (life, life.utility(world, costs))
        counts = f"{life.trainings} trainings, {life.sent} sent"
        print(f"{world.stream.name}, {name}: accuracy {life.accuracy:.4f}, {counts}", flush=True)
    return found


def _print(found: Lives) -> None:
    head = (
        "stream",
        "policy",
        "accuracy",
        "trainings",
        "sent",
        "stopped",
        "worse",
        "MB sent",
        "right answers less costs",
    )
    print("\n| " + " | ".join(head) + " |\n" + "|---" * len(head) + "|")
    for stream, lives in found.items():
        for name, (life, utility) in lives.items():
            sent_mb = life.sent * DEVICES * life.size_bytes / 1e6
            stopped = (str(life.stopped), str(life.stopped_worse)) if name == "ours" else ("-", "-")
            cells = (stream, name, f"{life.accuracy:.4f}", str(life.trainings), str(life.sent), *stopped)
            print("| " + " | ".join((*cells, f"{sent_mb:.1f}", f"{utility:.0f}")) + " |")
    print(f"\n{DEVICES} devices; `worse`: stopped candidates that would have been worse in the 28 days after.")
