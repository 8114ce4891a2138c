"""Versions with weeks of counts, and the reports of their drift.

`python -m tests.controller.drift_cases` writes it to tests/data/drift; read the difference before you commit it.

Counts come from whole-number formulas and not from a generator, so that they are the same under every numpy.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from contract.captured import CapturedRow
from contract.distributions import CONFIDENCE_EDGES, Reference
from controller.drift.report import Facts, Task, Trial, report_of, since_of
from controller.drift.shape import Shape
from tests.controller.drift_worlds import BINS, NOW, WEEK_S

GOLDEN = Path(__file__).parents[1] / "data" / "drift" / "reports.json"

EDGES = {"x": np.array([-1.0, 0.0, 1.5]), "kind": np.array(["day", "night"]), "empty": np.zeros(0)}
REFERENCE = Reference(EDGES, np.array(CONFIDENCE_EDGES), {}, ())
NUMBERS = Reference(EDGES, np.array([1.0, 2.0]), {}, ())
KINDS = {f"d{number}": "arm" if number % 2 else "x86" for number in range(8)}


def counts(device: int, week: int, bins: int, moved: int = 0) -> tuple[int, ...]:
    """Rows by bin, none of them missing values; `moved` adds rows to the last bin."""
    found = [0, *(20 + (device * 7 + week * 13 + place * 5) % 11 for place in range(1, bins))]
    found[-1] += moved
    return tuple(found)


def shape(device: int, week: int, moved: int, *, classifies: bool) -> Shape:
    broken = 2 if device == 1 and week == 0 else 0
    return Shape(
        features={
            "x": counts(device, week, 5, moved),
            "kind": counts(device, week, 4, moved // 2),
            "empty": (0, 60 + device),
        },
        outputs=counts(device, week, BINS if classifies else 4, moved // 3),
        predictions={"on": 100 + device + week % 3 + moved, "off": 80 - week % 2, **({"rare": 1} if week else {})}
        if classifies
        else {},
        breaches={"x": (broken, 0, 0, 1 if device == 2 else 0)},
        groups={
            "site=a": (40 + device, 10 + week % 2 + device, 20, 12, 15, 3),
            "site=b": (50, 25, 20, 15 - device % 3, 18, 2 + device % 2),
            "site=c": (3, 1, 1, 1, 1, 0),
            "shift=day": (45, 20, 0, 0, 0, 0),
            "shift=night": (44, 10, 0, 0, 0, 0),
        },
    )


def weeks(number: int, moved: int = 0, *, devices: int = 4, classifies: bool = True, release: int = 3) -> list[Any]:
    """Rows of the store, one for each device and week; the newest week has moved."""
    return [
        (
            f"d{device}",
            release,
            NOW - week * WEEK_S - 7200.0,
            shape(device, week, 0 if week else moved, classifies=classifies),
        )
        for device in range(devices)
        for week in range(number)
    ]


def labelled(number: int, *, kept: int = 300, harm: float = 0.0) -> list[CapturedRow]:
    """Rows a week with a label, as often right as their confidence says; in the newest week less often by `harm`."""
    return [
        CapturedRow(
            at=NOW - week * WEEK_S - 3600.0 - place,
            model="m",
            release=3,
            why="sampled",
            inputs={"x": 1.0},
            value="on",
            confidence=confidence,
            label="on" if (place * 37 + week) % 100 < 100 * (confidence - (harm if week == 1 else 0.0)) else "off",
        )
        for week in range(1, number)
        for place in range(kept)
        if (confidence := 0.4 + 0.6 * ((place * 7 + week) % 30) / 30)
    ]


def facts(task: Task = "classification", **changed: Any) -> Facts:
    known: dict[str, Any] = {
        "model": "m", "release": 3, "task": task, "reference": REFERENCE if task == "classification" else NUMBERS,
        "alike": frozenset({2}), "kinds": KINDS, "labelled": (), "trial": None, "fairness_limit": 0.1, "now": NOW,
        "span_s": WEEK_S,
    }  # fmt: skip
    return Facts(**{**known, **changed})


def cases() -> Iterator[tuple[str, tuple[Facts, list[Any]]]]:
    """Returns every case with its name, in words that explain a failure."""
    yield "nothing came", (facts(), [])
    yield "one week", (facts(), weeks(1))
    yield "three weeks", (facts(), weeks(3))
    yield "a quiet classifier", (facts(labelled=labelled(14)), weeks(14))
    yield "a classifier that met other rows", (facts(labelled=labelled(14)), weeks(14, moved=90))
    yield "a classifier that is often wrong", (facts(labelled=labelled(14, harm=0.3)), weeks(14))
    yield "labels that are few a week", (facts(labelled=labelled(14, kept=25)), weeks(14))
    yield "weeks with labels that are few", (facts(labelled=labelled(7)), weeks(14))
    yield "a year of weeks", (facts(), weeks(57, moved=12, devices=2))
    yield "a regression", (facts("regression"), weeks(10, moved=30, classifies=False))
    yield "anything else", (facts("other", fairness_limit=None), weeks(6, classifies=False))
    older = [*weeks(1, moved=20), *(row for row in weeks(10, release=2) if row[2] < NOW - WEEK_S)]
    yield "a version whose past is another's", (facts(), older)
    yield "a version that counts by other bins", (facts(alike=frozenset()), older)
    days = [(device, release, NOW - (NOW - at) / 7, found) for device, release, at, found in weeks(8, moved=30)]
    yield "a day beside the same day of other weeks", (facts(span_s=86_400.0), [*days, *weeks(8)])
    trial = Trial("r-1", 3, frozenset({"d0", "d1", "d2"}), NOW - 3 * WEEK_S)
    sides = weeks(6, moved=200, devices=3)
    sides += [row for row in weeks(6, devices=8, release=2) if row[0] not in trial.devices]
    yield "a trial that meets other rows", (facts(trial=trial, alike=frozenset({2})), sides)


def said() -> dict[str, Any]:
    """Returns the reports of every case; numbers to nine decimals, probabilities to one, because they are drawn."""
    found = {name: _rounded(msgspec.to_builtins(report_of(*case))) for name, case in cases()}
    for report in found.values():
        for each in report["moved"]:
            del each["bins"]  # rows by bin, which test_drift.py compares: 2,000 lines here
        for each in report["trial_beside_control"]:
            each["probability"] = round(each["probability"], 1)
    return {**found, "since": {str(days): (NOW - since_of(NOW, days * 86_400.0)) / 86_400.0 for days in (1, 7, 14)}}


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(each) for each in value]
    return round(value, 9) + 0.0 if isinstance(value, float) else value


if __name__ == "__main__":
    GOLDEN.parent.mkdir(parents=True, exist_ok=True)
    GOLDEN.write_text(json.dumps(said(), indent=1, sort_keys=True) + "\n", encoding="utf-8")
