"""Small fleets under a rollout, and every rule's verdict on them. `python -m tests.controller.rule_cases` writes it to
tests/data/rollout; read the difference before you commit it.

Each device answers 200 to 310 requests a minute and is wrong, slow or failing by its own amount, so that its
past, the others of its stratum and the other side all matter.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from contract.histogram import LATENCY_BUCKETS
from controller.rollout.analysis import judge_all
from controller.rollout.facts import BUCKET_S, Sums
from controller.rollout.model import Metric, Rollout, Rule
from controller.rollout.power import assumed, past_of, power_of, shown_by, why_it_cannot_trip
from controller.rollout.rows import Rows
from tests.controller.rollout_worlds import STRATEGY, rollout, targets

GOLDEN = Path(__file__).parents[1] / "data" / "rollout" / "rules.json"

ARM, X86 = [f"arm-{number}" for number in range(6)], [f"x86-{number}" for number in range(6)]
CHANGED = {"arm-0", "arm-1", "x86-0", "x86-1"}
"""Devices that get the release at minute `BEGINS`."""
BEGINS, ENDS = 6, 9

LIMITS: dict[Metric, float] = {
    "error_ratio": 0.02,
    "accuracy_drop": 0.05,
    "error_increase": 0.2,
    "latency_ratio_p95": 1.5,
    "agreement": 0.9,
}
RULES = tuple(Rule(metric=metric, threshold=limit, min_samples=100) for metric, limit in LIMITS.items())


def counted(device: int, minute: int, harm: float, *, regression: bool, compared: bool) -> Sums:
    """What one device measures in one minute; `harm` 0 is like the others, 1 is about twice as bad."""
    inferences = 200 + 10 * device + 5 * minute
    ratio = 0.06 + 0.02 * (device % 3) + 0.004 * ((device * 7 + minute * 3) % 5)
    slow = int(inferences * min(0.9, ratio * (1 + 2 * harm)))
    latency = [0] * LATENCY_BUCKETS
    latency[12], latency[15 + round(4 * harm)] = inferences - slow, slow
    error = 4 * ratio * (1 + harm) * inferences
    labels = {"measured": inferences, "absolute_error_sum": error, "squared_error_sum": 1.8 * error**2 / inferences}
    return Sums(
        inferences=inferences,
        errors=int(inferences * ratio * max(0.1, 0.2 + harm)),
        labelled=inferences,
        correct=0 if regression else inferences - int(inferences * ratio * (1 + harm)),
        latency_counts=tuple(latency),
        compared=inferences if compared else 0,
        agreed=int(inferences * (1 - ratio * max(0.1, 0.5 + harm))) if compared else 0,
        **(labels if regression else {}),  # type: ignore[arg-type]
    )


def measured(harm: float, *, beside: bool = False, past: bool = True, others: bool = True, **kind: Any) -> Rows:
    """A fleet's rows. `beside`: the other version still answers on the same devices."""
    rows = Rows()
    for number, device in enumerate([*ARM, *X86]):
        for minute in range(0 if past else BEGINS, ENDS):
            treated = device in CHANGED and minute >= BEGINS
            if treated:
                rows.add(device, minute * BUCKET_S, counted(number, minute, harm, compared=True, **kind), treated=True)
            if (not treated and (others or device in CHANGED)) or (treated and beside):
                sums = counted(number, minute + number % 2, 0.0, compared=False, **kind)
                rows.add(device, minute * BUCKET_S, sums, treated=False)
    return rows


def under_way(*rules: Rule, **fields: Any) -> Rollout:
    fleet = [*targets(ARM, "arm"), *targets(X86, "x86")]
    return rollout(replace(STRATEGY, rules=rules), among=fleet, **{"evidence_since": BEGINS * BUCKET_S, **fields})


Case = tuple[Rollout, Rows]


def cases() -> Iterator[tuple[str, Case]]:
    """Returns every case with its name, in words that explain a failure."""
    for task, regression in (("classifier", False), ("regression", True)):
        for word, harm in (("as good", 0.0), ("twice as bad", 1.0), ("far worse", 4.0), ("better", -0.6)):
            yield f"{task}, {word}", (under_way(*RULES), measured(harm, regression=regression))
        yield f"{task}, beside it", (under_way(*RULES), measured(0.5, beside=True, regression=regression))
        beside = measured(1.0, beside=True, others=False, regression=regression)
        yield f"{task}, beside it alone, twice as bad", (under_way(*RULES), beside)
        yield f"{task}, no past", (under_way(*RULES), measured(1.0, past=False, regression=regression))
        yield f"{task}, nobody else", (under_way(*RULES), measured(1.0, others=False, regression=regression))
    by_kind = tuple(replace(rule, scope="stratum") for rule in RULES)
    yield "kinds apart", (under_way(*by_kind), measured(1.0, regression=False))
    yield "one kind is stopped", (under_way(*by_kind, stopped_strata=("arm",)), measured(1.0, regression=False))
    strict = tuple(replace(rule, needs="shown_harmless") for rule in RULES)
    yield "harmlessness is asked for", (under_way(*strict), measured(0.0, regression=False))
    newest = tuple(replace(rule, judged_s=BUCKET_S) for rule in RULES)
    yield "the newest minute", (under_way(*newest), measured(1.0, regression=False))
    many = tuple(replace(rule, min_samples=1_000_000) for rule in RULES)
    yield "too few", (under_way(*many), measured(1.0, regression=True))
    yield "nothing came", (under_way(*(replace(rule, on_missing="skip") for rule in RULES)), Rows())


def verdicts_of(made: Rollout, rows: Rows) -> list[dict[str, Any]]:
    outcomes: Any = dict.fromkeys([*ARM, *X86], "waiting")
    return [_rounded(msgspec.to_builtins(each)) for each in judge_all(made, rows, outcomes, ENDS * BUCKET_S)]


def powers() -> Iterator[tuple[str, str]]:
    """(case, sentence): what each rule finds with 2 of 12 devices first, by the past of the fleet and without one."""
    kinds = dict.fromkeys(ARM, "arm") | dict.fromkeys(X86, "x86")
    past = {regression: measured(0.0, regression=regression).table() for regression in (False, True)}
    for rule in RULES:
        seen = past_of(past[rule.metric == "error_increase"], kinds)
        for word, shown in (
            ("shown", shown_by(rule.metric, seen, 240.0)),
            ("assumed", assumed(rule.metric)),
            ("assumed, with a rate", replace(assumed(rule.metric), per_hour=120.0)),
        ):
            name = f"{rule.metric}, {word}"
            yield f"{name}: numbers", json.dumps(_rounded(msgspec.to_builtins(shown)))
            yield f"{name}: an hour", power_of(rule, 2, 10, 3600.0, shown=shown)
            yield f"{name}: of three kinds", power_of(rule, 2, 10, 86_400.0, shown=shown, tests=3)
            yield f"{name}: alone", power_of(rule, 1, 0, 86_400.0, shown=shown)
            few = replace(rule, min_samples=1_000_000, judged_s=600.0)
            yield f"{name}: too few", power_of(few, 2, 10, 3600.0, shown=shown)
            for limit in (0.001, 0.7, 0.95):
                loose = replace(rule, threshold=limit)
                words = why_it_cannot_trip(loose, 2, 10, 3600.0, shown=shown, tests=2)
                yield f"{name}: could it trip at {limit}", words
    nobody = past_of(Rows().table(), {})
    yield "nobody: numbers", json.dumps(msgspec.to_builtins(shown_by("accuracy_drop", nobody, 240.0)))


def said() -> dict[str, Any]:
    """Returns the verdicts of every case; numbers to nine decimals."""
    found: dict[str, Any] = {f"verdicts: {name}": verdicts_of(*case) for name, case in cases()}
    return found | {f"power: {name}": words for name, words in powers()}


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return round(value, 9) + 0.0 if isinstance(value, float) else value


if __name__ == "__main__":
    GOLDEN.parent.mkdir(parents=True, exist_ok=True)
    GOLDEN.write_text(json.dumps(said(), indent=1, sort_keys=True) + "\n", encoding="utf-8")
