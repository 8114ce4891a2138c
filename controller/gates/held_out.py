"""The gate on held-out rows: accuracy or mean absolute error, of the version alone and compared with the champion.

Both answer the same rows, so that the difference is judged row by row. Refuses to know whether training and held-out
rows were properly separated.
"""

import numpy as np

from contract.tensors import Array
from controller.gates.evidence import Evidence, HeldOut
from controller.gates.policy import GatePolicy, HeldOutPolicy
from controller.gates.power import margin
from controller.gates.verdict import GateVerdict

MAX_NAMED = 3
"""Labels that the verdict names."""
_REMEDY = "train on more or newer rows, or set the limit where the fleet needs it"


def judge_held_out(policy: GatePolicy, evidence: Evidence) -> GateVerdict | None:
    """Fails beyond a limit of `held_out`, or without rows where they are required; else None if there are none."""
    held, limits = evidence.held_out, policy.held_out
    if held is None or not held.rows:
        if not limits.required:
            return None
        detail = "no held-out rows came with the push"
        return GateVerdict(
            gate="held_out", passed=False, detail=detail, remedy="push with held_out=HeldOut(rows, labels)"
        )
    scores = held.scores(held.answers)
    faults, words, power = _alone(held, limits, scores)
    numbers = {"rows": float(held.rows), _name(held): float(scores.mean())}
    if held.champion is not None:
        before = held.scores(held.champion)
        fault, beside, caught = _beside(held, limits, scores, before)
        faults, words, power = faults + fault, [*words, beside], [*power, caught]
        numbers[f"champion_{_name(held)}"] = float(before.mean())
    return GateVerdict(
        gate="held_out",
        passed=not faults,
        detail=f"{_name(held)} {scores.mean():.4g} on {held.rows} held-out rows"
        + "".join(f"; {each}" for each in (*_unknown(held), *words)),
        evidence=numbers,
        power="; ".join(power),
        remedy=_REMEDY,
    )


def _unknown(held: HeldOut) -> list[str]:
    """Says how many labels are no class of the version: it cannot answer these rows, and they count as wrong."""
    unknown = held.unknown
    if not unknown:
        return []
    named = ", ".join(repr(each[:40]) for each in sorted(unknown, key=lambda each: -unknown[each])[:MAX_NAMED])
    return [
        f"{sum(unknown.values())} of them have a label that is no class of the version ({named}) and count as wrong"
    ]


def _alone(held: HeldOut, limits: HeldOutPolicy, scores: Array) -> tuple[int, list[str], list[str]]:
    """Returns (exceeded limits, words, power) for the version alone."""
    beyond = margin(_deviation(held, scores), held.rows)
    if held.task == "classification" and limits.min_accuracy is not None:
        words = f"at least {limits.min_accuracy:g} is required"
        return int(scores.mean() < limits.min_accuracy), [words], [f"would catch -{100 * beyond:.2g} points with 95 %"]
    if held.task != "classification" and limits.max_error is not None:
        words = f"at most {limits.max_error:g} is required"
        return int(scores.mean() > limits.max_error), [words], [f"would catch +{beyond:.2g} of error with 95 %"]
    return 0, [], []


def _beside(held: HeldOut, limits: HeldOutPolicy, scores: Array, before: Array) -> tuple[int, str, str]:
    """Returns (1 if it is worse than the champion by more than allowed, words, power)."""
    name, limit = held.champion_name, limits.max_worse
    if held.task == "classification":
        drop = before - scores
        caught = limit + margin(float(drop.std()) or _deviation(held, scores), held.rows)
        words = f"{name} reaches {before.mean():.4g}, a drop of at most {limit:g} is allowed"
        return int(drop.mean() > limit), words, f"would catch -{100 * caught:.2g} points beside {name} with 95 %"
    base = float(before.mean()) or 1e-12
    increase = (scores - before) / base
    caught = limit + margin(float(increase.std()), held.rows)
    words = f"{name} has {before.mean():.4g}, {100 * limit:g} % more is allowed"
    return int(increase.mean() > limit), words, f"would catch +{100 * caught:.2g} % of error beside {name} with 95 %"


def _name(held: HeldOut) -> str:
    return "accuracy" if held.task == "classification" else "mean_absolute_error"


def _deviation(held: HeldOut, scores: Array) -> float:
    """Returns the standard deviation of a row's score, with one wrong row added, so that a perfect sample gives no
    certainty.
    """
    if held.task != "classification":
        return float(np.std(scores))
    wrong = (float((1 - scores).sum()) + 1) / (held.rows + 1)
    return float(np.sqrt(wrong * (1 - wrong))) if wrong < 1 else 0.0
