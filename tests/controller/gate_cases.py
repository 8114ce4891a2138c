"""Versions before release, small enough to check by hand. `python -m tests.controller.gate_cases` writes the gates'
verdicts on them to tests/data/gates; read the difference before you commit it.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import replace

from contract.manifest import Manifest
from controller.gates.evidence import Caller, Evidence, HeldOut
from controller.gates.judge import judge_all
from controller.gates.parity import Compared, Parity, WorstRow
from controller.gates.policy import FairnessPolicy, GatePolicy, HeldOutPolicy, SlicePolicy
from controller.gates.verdict import GateVerdict
from tests.controller.registry_worlds import manifest

GOLDEN = Path(__file__).parents[1] / "data" / "gates" / "verdicts.json"

ROWS = 40
LABELS = np.repeat([1, 0], 20)
SITE = np.array((["a"] * 8 + ["b"] * 12) * 2)
ONE_SITE = np.array(["a"] * ROWS)
TIMES = np.arange(float(ROWS))
TRUTH = np.arange(1.0, ROWS + 1.0)

HELD_OUT = GatePolicy(held_out=HeldOutPolicy(required=True, min_accuracy=0.9, max_error=1.5, max_worse=0.05))
SLICES = GatePolicy(slices=SlicePolicy(max_worse=0.01, min_rows=8))
FAIR = FairnessPolicy(
    groups=("site",),
    min_rows=10,
    demographic_parity_difference=0.1,
    demographic_parity_ratio=0.9,
    equalized_odds_difference=0.05,
    equalized_odds_ratio=0.9,
    equal_opportunity_difference=0.05,
)

Case = tuple[GatePolicy, Evidence]


def compared(rows: int, differing: int = 0, largest: float = 0.0, spreads: float = 0.0) -> Compared:
    return Compared(rows=rows, differing=differing, max_abs_difference=largest, max_spreads=spreads)


PARITY = Parity(reference="scikit-learn 1.9", precision="float32", sample=compared(500), boundary=compared(64))


def evidence(**changes: Any) -> Evidence:
    return Evidence(**{"manifest": manifest(), "parity": PARITY, "load_mb": 10.0, **changes})


def flipped(*rows: int) -> Any:
    """The labels, with another answer in these rows."""
    answers = LABELS.copy()
    answers[list(rows)] = 1 - answers[list(rows)]
    return answers


def held(*wrong: int, **changes: Any) -> Evidence:
    """A classifier that is wrong in these rows."""
    given = {"task": "classification", "labels": LABELS, "answers": flipped(*wrong), "groups": {"site": SITE}}
    return evidence(held_out=HeldOut(**{**given, **changes}))


def regression(error: Any, **changes: Any) -> Evidence:
    given = {"task": "regression", "labels": TRUTH, "answers": TRUTH + error, "groups": {"site": SITE}}
    return evidence(held_out=HeldOut(**{**given, **changes}))


def changed(**fields: Any) -> Manifest:
    return replace(manifest(), **fields)


def cases() -> dict[str, Case]:
    """Returns every case by its name, in words that explain a failure."""
    return {
        name: case for part in (_parity, _numbers, _held_out, _slices, _fairness, _callers) for name, case in part()
    }


def _parity() -> Iterator[tuple[str, Case]]:
    nothing = GatePolicy()
    worst = (WorstRow(row="sample 17", inputs={"x": "1"}, expected={"label": "a"}, actual={"label": "b"}),)
    found = {
        "equal": PARITY,
        "one row too many": replace(PARITY, sample=compared(500, 1, 0.25, 0.5), worst=worst),
        "at the limit": replace(PARITY, sample=compared(1000, 1, 0.25)),
        "another kind of rows differs": replace(PARITY, others={"unknown": compared(50, 2, 2.0), "zero": compared(0)}),
        "a witness answers otherwise": replace(PARITY, witness=compared(500, 3), witness_by="scikit-learn 1.7"),
        "a witness agrees": replace(PARITY, witness=compared(500), witness_by="scikit-learn 1.7"),
        "came as ONNX": replace(PARITY, reference="none"),
        "came as ONNX without rows": replace(PARITY, reference="none", sample=compared(0)),
        "no rows": replace(PARITY, sample=compared(0), boundary=compared(0)),
        "many rows": replace(PARITY, sample=compared(3000, 3)),
    }
    tied = replace(PARITY.sample, ties=22)
    found |= {
        "nothing but ties": replace(PARITY, precision="float64", sample=tied),
        "one tie": replace(PARITY, boundary=replace(PARITY.boundary, ties=1)),
        "ties and another row": replace(PARITY, sample=replace(tied, differing=1)),
    }
    for name, parity in found.items():
        yield f"parity: {name}", (nothing, evidence(parity=parity))


def _numbers() -> Iterator[tuple[str, Case]]:
    limits = GatePolicy(max_size_bytes=1000, max_memory_mb=64.0, max_latency_us_p95=100.0)
    sized = {size: manifest(1, b"x" * size) for size in (1000, 1001)}
    yield "numbers: at their limits", (limits, evidence(manifest=sized[1000], load_mb=64.0, latency_us_p95=100.0))
    over = evidence(manifest=sized[1001], load_mb=64.5, latency_us_p95=100.5, latency_us_p50=20.0)
    yield "numbers: beyond their limits", (limits, over)
    yield "numbers: not measured", (limits, evidence())
    licences = GatePolicy(licences=("MIT", "Apache-2.0"), operators=("Add", "MatMul"), own=("business", "legal"))
    own = (GateVerdict(gate="own business", passed=True, detail="fine", judged_by="ada"),)
    yield "lists: all on them", (licences, evidence(licence="MIT", operators=("Add",), own=own))
    foreign = ("Add", "B1", "B2", "B3", "B4", "B5", "B6")
    yield "lists: not on them", (licences, evidence(licence="GPL-3.0-only", operators=foreign))
    yield "lists: nothing was said", (licences, evidence())


def _held_out() -> Iterator[tuple[str, Case]]:
    champion = {"champion": flipped(5, 25), "champion_name": "v1"}
    yield "held out: none came", (HELD_OUT, evidence())
    yield "held out: none came and none are asked for", (GatePolicy(), evidence())
    yield "held out: at the limits", (HELD_OUT, held(0, 1, 2, 20, **champion))
    yield "held out: below the limit", (HELD_OUT, held(0, 1, 2, 20, 21))
    yield "held out: worse than the champion", (HELD_OUT, held(0, 1, 2, 20, champion=flipped(), champion_name="v1"))
    yield "held out: all right", (HELD_OUT, held(champion=flipped(), champion_name="v1"))
    yield "held out: all wrong", (HELD_OUT, held(*range(ROWS)))
    yield "held out: without a limit", (GatePolicy(), held(0, 1))
    wave = np.tile([1.0, -2.0], ROWS // 2)
    yield "held out: an error at its limit", (HELD_OUT, regression(wave, champion=TRUTH - 1.5, champion_name="v2"))
    yield "held out: an error beyond", (HELD_OUT, regression(2 * wave, champion=TRUTH + 1.0, champion_name="v2"))
    yield "held out: a champion without error", (HELD_OUT, regression(wave, champion=TRUTH, champion_name="v2"))
    yield "held out: an error without a limit", (GatePolicy(), regression(wave))
    for name, until in (("before", -1.0), ("at the first", 0.0), ("within", 9.5), ("not said", None)):
        yield f"split: training ends {name}", (GatePolicy(), held(times=TIMES, trained_until=until))


def _slices() -> Iterator[tuple[str, Case]]:
    yield "slices: even", (SLICES, held(0, 8, 20, 28, times=TIMES, trained_until=-1.0))
    site_a = [row for row in range(ROWS) if SITE[row] == "a"]
    yield "slices: one site", (SLICES, held(*site_a, times=TIMES, trained_until=-1.0))
    many = dict.fromkeys(("site", "plant", "line", "shift"), SITE)
    yield "slices: four fail and three are named", (SLICES, held(*site_a, groups=many))
    yield "slices: too small", (replace(SLICES, slices=SlicePolicy(max_worse=0.01, min_rows=17)), held(0))
    yield "slices: none is large enough", (replace(SLICES, slices=SlicePolicy(max_worse=0.01)), held(0))
    yield "slices: an error", (SLICES, regression(np.where(SITE == "a", 3.0, 1.0)))
    yield "slices: no error at all", (SLICES, regression(0.0))


def _fairness() -> Iterator[tuple[str, Case]]:
    policy = GatePolicy(fairness=FAIR)
    yield "fairness: alike", (policy, held())
    yield "fairness: beyond every limit", (policy, held(0, 1, 2, 20))
    yield "fairness: no such group", (policy, held(groups={"plant": SITE}))
    yield "fairness: no rows", (policy, evidence())
    yield "fairness: one group", (policy, held(0, groups={"site": ONE_SITE}))
    yield "fairness: small groups", (GatePolicy(fairness=replace(FAIR, min_rows=17)), held(0))
    yield "fairness: no limits", (GatePolicy(fairness=FairnessPolicy(groups=("site",), min_rows=1)), held(0, 1))
    other = GatePolicy(fairness=replace(FAIR, positive="0"))
    yield "fairness: another label is the good one", (other, held(0, 1, 2))
    nobody = GatePolicy(fairness=replace(FAIR, positive="2"))
    yield "fairness: nobody is selected", (nobody, held())


def _callers() -> Iterator[tuple[str, Case]]:
    policy = GatePolicy(same_signature=True)
    callers = (Caller(1, manifest(), 3), Caller(2, changed(columns=("b", "a")), 1))
    yield "callers: one must change", (policy, evidence(callers=callers))
    yield "callers: none must change", (policy, evidence(callers=callers[:1]))
    yield "callers: none are there", (policy, evidence())


def said() -> dict[str, list[dict[str, Any]]]:
    """Returns the gates' verdicts on every case; numbers to nine digits."""
    found = {}
    for name, (policy, known) in cases().items():
        verdicts = [msgspec.to_builtins(verdict) for verdict in judge_all(policy, known)]
        for verdict in verdicts:
            verdict["evidence"] = {key: round(value, 9) for key, value in verdict["evidence"].items()}
        found[name] = verdicts if name.startswith(("parity", "numbers")) else verdicts[1:]
    return found


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(said(), indent=1, sort_keys=True) + "\n", encoding="utf-8")
