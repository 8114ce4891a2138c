"""Trainings at a controller, for tests and pictures of the page: runs that learn, a data set that changed, versions."""

import asyncio
import math
import time
from typing import Any

from contract.captured import Captured, CapturedRow
from contract.run_record import Artifact, CodeState, DataUse, Entry, Environment, PushedVersion, Record, Threads
from contract.run_sent import Curve, SentRun
from controller.state import State
from controller.verbs import data_sets, runs
from controller.verbs.data_sets import RowsWanted
from tests.controller.page_worlds import fill
from tests.controller.registry_worlds import version

_MADE: list[asyncio.Task[None]] = []
"""Data sets that are being made beside the page: a loop keeps no task alive by itself."""
RUNS = 32
"""Runs that were sent: more than one page has."""
STEPS = 60
FIRST, SECOND = "20261127-090000-aaaa00", "20261127-090000-aaaa01"
"""The two newest runs."""
LIBRARIES = {"numpy": "2.1.0", "scikit-learn": "1.5.2", "pandas": "2.2.3", "joblib": "1.4.2"}


def fill_with_trainings(state: State) -> None:
    """Makes a fleet of 60 devices, 32 runs of a model, two versions of a data set and the versions made of them."""
    fill(state, time.time(), 60)
    for release in (1, 2):
        state.registry.add(version(release, data_sets=("weather@1",), run=(SECOND, FIRST)[release - 1]))
    _MADE.append(asyncio.get_running_loop().create_task(_data(state)))
    for number in range(RUNS):
        made = record(number)
        runs.keep(state, made.id, SentRun(record=made, curves=_curves(number)), actor=("ada", "jonas")[number % 2])


def record(number: int) -> Record:
    """A run; number 0 is the newest."""
    began, failed = time.time() - 3600.0 * (number + 1), number % 9 == 8
    fields: dict[str, Any] = {
        "id": f"20261127-090000-aaaa{number:02}", "name": "weather", "status": "failed" if failed else "finished",
        "started_at": began, "ended_at": began + 40 + number, "error": "ValueError: no rows" if failed else "",
        "entry": Entry((), "", "train.py", "e" * 64), "code": CodeState(f"{number % 3}c0ffee" * 5, "", "d" * 64),
        "environment": Environment("3.11.9", "linux-x86_64", LIBRARIES, ("numpy", "scikit-learn")),
        "threads": Threads({"openblas": 2}, {"openblas": "Haswell"}), "seeds": {"train": "7"},
        "params": {"depth": str(4 + number % 5), "learning_rate": str(0.1 / (1 + number % 3))},
        "data": (DataUse("train", f"{number % 2}a" * 32, 4_000, {"x": "double"}, data_set="weather@1"),),
        "artifacts": (
            Artifact("weather", f"{number:02}" * 32, 0, "model"), Artifact("confusion.png", "9" * 64, 20_480),
        ),
        "metrics": {} if failed else {"accuracy": 0.92 - 0.01 * (number % 7), "loss": 0.2 + 0.02 * (number % 7)},
        "pushed": (PushedVersion("m", 2 - number, "d" * 64),) if number < 2 else (),
        "tags": {"experiment": "42"},
    }  # fmt: skip
    return Record(**fields)


def _curves(number: int) -> tuple[Curve, ...]:
    steps, slow = tuple(range(STEPS)), 8 + number % 7
    at = tuple(1000.0 + step for step in steps)
    loss = tuple(0.2 + math.exp(-step / slow) if step != 30 or number != 1 else None for step in steps)
    right = tuple(0.92 - 0.4 * math.exp(-step / slow) for step in steps)
    return (
        Curve(metric="accuracy", steps=steps, values=right, at=at),
        Curve(metric="loss", steps=steps, values=loss, at=at),
    )


async def _data(state: State) -> None:
    rows = tuple(_captured(number) for number in range(40))
    state.captures.keep([("aldern-001", Captured(protocol=1, device="aldern-001", boot=1, seq=1, rows=rows))])
    await data_sets.make(state, "weather", RowsWanted("m", remove=("site",)), actor="ada")
    state.captures.label("m", {number: "rain" if number % 3 else "dry" for number in range(1, 30)}, time.time())
    await data_sets.make(state, "weather", RowsWanted("m", remove=("_key",), keep_days=30), actor="jonas")
    await data_sets.make(state, "storms", RowsWanted("m", labelled=True), actor="ada")


def _captured(number: int) -> CapturedRow:
    return CapturedRow(
        at=time.time() - 60 * number, model="m", release=1, why="sampled", value="rain", confidence=0.8,
        inputs={"x": 0.5 * number, "pressure": 1013.0 + number, "site": "oslo"}, id=f"answer-{number}",
        key=f"person-{number % 7}",
    )  # fmt: skip
