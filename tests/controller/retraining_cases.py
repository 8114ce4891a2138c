"""Models at one moment each, and what the retraining policy decides and says of them.

`python -m tests.controller.retraining_cases` writes it to tests/data/retraining; read the difference before you commit.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from controller.gates.estimate import Estimate
from controller.retraining.decide import cool_down_until, decide, died
from controller.retraining.explain import explain, explain_decision
from controller.retraining.facts import Facts
from controller.retraining.model import Decision, Proposal, Retraining, Weighed
from controller.retraining.policy import DAY_S, Costs, Limits, Quality, RetrainingPolicy, Triggers
from controller.retraining.quality import Cell, decay_of, mean_loss, newest_cells, oldest_cells, promised
from controller.retraining.weigh import recoverable

GOLDEN = Path(__file__).parents[1] / "data" / "retraining" / "decisions.json"

NOW = 1_000 * DAY_S
POLICY = RetrainingPolicy()
FELL = Weighed(Estimate(0.1, 0.05, 0.15), 0.5, Estimate(0.05, 0.025, 0.075), 2000, 1000.0, 30.0, 10.0, 100.0)


def cells(accuracy: float, *, devices: int = 4, blocks: int = 4, labels: int = 120, apart: float = 0.0) -> Any:
    """Blocks of devices that are as accurate on the mean; `apart`: how far odd and even ones lie from it."""
    found = []
    for block in range(blocks):
        for device in range(devices):
            wrong = labels * (1 - accuracy + apart * (0.5 - device % 2) + apart * (0.5 - block % 2) / 2)
            found.append(Cell(block, f"d{device}", labels, round(wrong), round(wrong)))
    return tuple(found)


def facts(accuracy: float = 0.8, before: float = 0.95, **changed: Any) -> Facts:
    known: dict[str, Any] = {
        "model": "air", "champion": 3, "champion_at": NOW - 40 * DAY_S, "classifies": True, "recent": cells(accuracy),
        "reference": mean_loss(cells(before)), "new_labels": 2000, "answers_per_s": 1.0, "devices": 50,
        "size_bytes": 200_000, "training_s": 30.0,
    }  # fmt: skip
    return Facts(**{**known, **changed})


def attempt(status: Any = "stopped", ago_days: float = 20.0, gain: float | None = None, **changed: Any) -> Retraining:
    at = NOW - ago_days * DAY_S
    asked = (Proposal(trigger="decay", detail="it fell"),)
    decision = Decision(at, "air", 3, "train", "gain_shown", asked, "it fell", FELL)
    known = Retraining(
        "t-1", "air", 3, status, decision, at - 120.0, began_at=at - 60.0, heard_at=at - 30.0, ended_at=at,
        worker="w1", step="fit", gain=None if gain is None else Estimate(gain, gain - 0.01, gain + 0.02),
    )  # fmt: skip
    return replace(known, **changed)


def cases() -> Iterator[tuple[str, RetrainingPolicy, Facts]]:
    """Returns every case with its name, in words that explain a failure."""
    yield "a drop", POLICY, facts()
    yield "no drop", POLICY, facts(0.95)
    yield "a drop that seasons explain", POLICY, facts(0.935)
    yield "devices that differ", POLICY, facts(0.88, recent=cells(0.88, apart=0.2))
    yield "few devices", POLICY, facts(0.88, recent=cells(0.88, devices=1, blocks=2))
    yield "too few labels", POLICY, facts(recent=cells(0.8, devices=1, blocks=1, labels=99))
    yield "just enough labels", POLICY, facts(recent=cells(0.5, devices=1, blocks=1, labels=100))
    yield "no reference", POLICY, facts(reference=None)
    yield "a regression", POLICY, facts(classifies=False)
    yield "too soon", POLICY, facts(0.94, champion_at=NOW - 30 * DAY_S + 1)
    yield "on its day", POLICY, facts(0.94, champion_at=NOW - 30 * DAY_S)
    yield "labels that have come", POLICY, facts(0.94, champion_at=NOW - DAY_S, new_labels=10_000)
    yield "one label fewer", POLICY, facts(0.94, champion_at=NOW - DAY_S, new_labels=9_999)
    off = replace(POLICY, triggers=Triggers(every_s=0, new_labels=0, decay=False, alerts=False))
    alert, wish = Proposal(trigger="alert", detail="breaches"), Proposal(trigger="person", detail="ada wants it")
    yield "no trigger", off, facts(asked=(alert,))
    yield "a person", off, facts(0.95, asked=(alert, wish))
    yield "a person is asked", replace(POLICY, approval=True), facts()
    yield "an alert", POLICY, facts(0.95, champion_at=NOW - DAY_S, asked=(alert,))
    yield "not worth it", replace(POLICY, costs=Costs(per_rollout=1e9)), facts()
    yield "dear bytes", replace(POLICY, costs=Costs(per_mb=1e6)), facts()
    free = replace(POLICY, costs=Costs(per_training_s=0, per_mb=0, per_rollout=0))
    yield "worth as much as it costs", free, facts(answers_per_s=0.0)
    for status in ("proposed", "approved", "running"):
        yield f"one is {status}", POLICY, facts(past=(attempt(status, ended_at=0.0),))
    yield "one is on its way", POLICY, facts(coming=4)
    for ago_days in (2.9, 3.0, 5.9, 6.0):
        fruitless = (attempt("passed", 60.0, 0.01), attempt("failed", 30.0), attempt("stopped", ago_days))
        yield f"{ago_days:g} days after the second without fruit", POLICY, facts(past=fruitless)
    recent = tuple(attempt("passed", 80.0 - number, 0.02, candidate_bytes=40_000_000) for number in range(6))
    yield "the budget of trainings", POLICY, facts(past=recent)
    yield "a place in the budget", POLICY, facts(past=(attempt("passed", 90.1, 0.02), *recent[1:]))
    yield "the budget of bytes", replace(POLICY, limits=Limits(budget_mb=9_999.0)), facts(past=recent[:5])
    yield "bytes within the budget", replace(POLICY, limits=Limits(budget_mb=10_000.0)), facts(past=recent[:5])
    won = (attempt("passed", 80.0, 0.03), attempt("stopped", 70.0), attempt("passed", 60.0, -0.01))
    yield "has won before", POLICY, facts(0.95, past=won)
    yield "has won before, too soon", POLICY, facts(0.95, past=won, champion_at=NOW - 29 * DAY_S, new_labels=10_000)
    yield "has won too little", POLICY, facts(0.95, past=won, answers_per_s=1e-4)
    yield "has never won", POLICY, facts(0.95, past=(attempt("stopped", 70.0), attempt("failed", 60.0)))
    yield "has won more than it lost", POLICY, facts(past=(attempt("passed", 80.0, 0.4),))
    few = replace(POLICY, quality=Quality(min_labels=2000), recoverable=0.25)
    yield "a dear opinion", few, facts()


def attempts() -> Iterator[tuple[str, Retraining]]:
    """Attempts in every status."""
    for status in ("proposed", "approved", "running", "passed", "stopped", "failed", "declined"):
        yield status, attempt(status, gain=0.04, release=4, approved_by="ada", detail="so it ended")
    yield "bare", attempt("failed", worker="", step="")
    often = replace(attempt().decision, times=3, word="no", weighed=None)
    yield "often decided", attempt("declined", decision=often)


def numbers() -> dict[str, Any]:
    """Cool-downs, deaths and means at their edges."""
    one, three = attempt(), tuple(attempt("failed", ago) for ago in (30.0, 20.0, 10.0))
    running = attempt("running", heard_at=NOW - 100.0, began_at=NOW - 3000.0)
    found, few = cells(0.9, apart=0.1), cells(0.9, devices=2, blocks=2)
    means = [mean_loss(each) for each in (found, few, few[:1], (), (Cell(0, "a", 1, 1, 1),), (Cell(0, "a", 2, 1, 1),))]
    ours, theirs = means[0], means[1]
    assert ours is not None
    assert theirs is not None
    return {
        "cool-down": [cool_down_until(POLICY, past) - NOW for past in ((), (one,), three, three * 3)],
        "died": [died(POLICY, each, NOW + late) for late in (0, 20.0, 20.5, 1e4) for each in (running, one)],
        "hangs": [
            died(POLICY, replace(running, heard_at=NOW, began_at=NOW - took_s, step=""), NOW)
            for took_s in (3600.0, 3601.0)
        ],
        "means": msgspec.to_builtins(means),
        "decays": [msgspec.to_builtins(decay_of(ours, theirs, 0.9, relative=each)) for each in (False, True)],
        "promised": [msgspec.to_builtins(promised(0.9, 400, classifies=each, like=ours)) for each in (False, True)],
        "blocks": [sorted({cell.block for cell in kept(found, 2)}) for kept in (newest_cells, oldest_cells)],
        "recoverable": [
            recoverable(0.5, past)
            for past in (
                (),
                (one,),
                (attempt("failed"),),
                (attempt("passed", gain=0.08),),
                (attempt("passed", gain=-1.0),),
            )
        ],
    }


def said() -> dict[str, Any]:
    """Returns the decisions and sentences of every case; numbers to nine decimals."""
    found: dict[str, Any] = {"numbers": numbers()}
    for name, policy, known in cases():
        decision = decide(policy, known, NOW)
        sentences = [] if decision is None else explain_decision(decision)
        found[f"decides: {name}"] = {"decision": msgspec.to_builtins(decision), "says": sentences}
    for name, one in attempts():
        found[f"tells: {name}"] = explain(one)
    return dict(_rounded(found))


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(each) for each in value]
    return round(value, 9) + 0.0 if isinstance(value, float) else value


if __name__ == "__main__":
    GOLDEN.parent.mkdir(parents=True, exist_ok=True)
    GOLDEN.write_text(json.dumps(said(), indent=1, sort_keys=True) + "\n", encoding="utf-8")
