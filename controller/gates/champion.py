"""The champion gate of a retrained version: it must beat the champion on the newest rows, and lose nothing on the
fixed rows.

Compares both on the same rows, row by row, in blocks of time, and only on rows that neither has learned. Refuses to
know the training, and the effect of a passed gate.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from contract.hundredths import signed_hundredths, signed_interval
from contract.tensors import Array
from controller.gates.estimate import Estimate, estimate_by_blocks
from controller.gates.evidence import ChampionRule, Evidence, HeldOut
from controller.gates.verdict import GateVerdict

GATE = "champion"
UNITS = {True: "points", False: "% of the error"}
"""The unit of a gain of 0.01: for a classifier a point of accuracy, for a regression 1 % of the champion's mean
error."""
_REMEDY = "the champion goes on serving; retrain once there are more or newer labels"


def judge_retrained(evidence: Evidence) -> GateVerdict | None:
    """The verdict on a retrained version; None for a version that a person has pushed."""
    rule = evidence.retrained_by
    if rule is None:
        return None
    return judge_champion(rule, evidence.held_out, evidence.never_forget, evidence.never_forget_sha256)


def judge_champion(rule: ChampionRule, newest: HeldOut | None, fixed: HeldOut | None, digest: str) -> GateVerdict:
    """The verdict on the newest held-out rows, which have times, and on the fixed rows, which `digest` names. Both are
    compared with the champion's answers.
    """
    faults, numbers, words = _newest(rule, newest)
    forgot, more, said = _fixed(rule, fixed, digest)
    found = [*faults, *forgot]
    return GateVerdict(
        gate=GATE,
        passed=not found,
        detail="; ".join([*found, *words, *said])[:500],
        evidence={**numbers, **more},
        power=f"by {rule.blocks} blocks of time, with {100 * rule.confidence:g} %",
        remedy=_REMEDY if found else "",
    )


def gain_of(evidence: Mapping[str, float]) -> Estimate | None:
    """The gain over the champion that the gate has measured; None if it measured none."""
    if "gain" not in evidence:
        return None
    return Estimate(evidence["gain"], evidence["gain_low"], evidence["gain_high"])


def gains(held: HeldOut) -> Array:
    """The gain over the champion on each row, as a fraction: float64 of shape (rows,)."""
    assert held.champion is not None
    before, after = held.scores(held.champion), held.scores(held.answers)
    if held.classifies:
        return after - before
    return np.asarray((before - after) / (float(before.mean()) or 1e-12))


def _newest(rule: ChampionRule, held: HeldOut | None) -> tuple[list[str], dict[str, float], list[str]]:
    if held is None or not held.rows or held.times is None:
        return ["no held-out rows with times came with the candidate"], {}, []
    if held.champion is None:
        return ["the champion does not answer the held-out rows"], {}, []
    held = _unlearned(held)
    assert held.times is not None
    gain = estimate_by_blocks(gains(held), held.times, rule.blocks, rule.confidence) if held.rows else None
    if gain is None:
        return [f"{held.rows} held-out rows are too few for {rule.blocks} blocks of time"], {}, []
    if (fault := _unlike_its_fits(rule, held)) is not None:
        return [fault], {}, []
    by, where = change(gain, classifies=held.classifies), f"on the newest {held.rows} rows"
    numbers = {"gain": gain.value, "gain_low": gain.low, "gain_high": gain.high, "rows": float(held.rows)}
    if gain.low > rule.min_gain:
        return [], numbers, [f"{held.champion_name} is beaten by {by} {where}"]
    lost = f"it does not beat {held.champion_name} {where}: {by}"
    return [f"{lost}, more than {100 * rule.min_gain:g} is required"], numbers, []


def _unlearned(held: HeldOut) -> HeldOut:
    """Returns the rows that the champion has not learned: on others its answers are better than they will ever be."""
    assert held.times is not None
    assert held.champion is not None
    if held.champion_until is None:
        return held
    later = held.times > held.champion_until
    return replace(
        held,
        labels=held.labels[later],
        answers=held.answers[later],
        champion=held.champion[later],
        times=held.times[later],
        own_answers=None if held.own_answers is None else held.own_answers[later],
    )


def _unlike_its_fits(rule: ChampionRule, held: HeldOut) -> str | None:
    """Says that the version is worse on the rows of a backtest than the fits that speak for it; None if it is not.

    It has learned most of these rows, so it answers them better. If it does not, its own fit or conversion has failed.
    """
    if held.own_answers is None:
        return None
    itself = replace(held, answers=held.own_answers, champion=held.answers)
    worse = -float(gains(itself).mean())
    if worse <= rule.max_forgotten:
        return None
    return f"the version is {100 * worse:.1f} {UNITS[held.classifies]} worse than the earlier fits of its backtest"


def _fixed(rule: ChampionRule, held: HeldOut | None, digest: str) -> tuple[list[str], dict[str, float], list[str]]:
    if held is None or not held.rows:
        missing = rule.never_forget_required or rule.never_forget_sha256
        return (["no rows that it must never forget came with the candidate"] if missing else []), {}, []
    if rule.never_forget_sha256 not in ("", digest):
        return [f"the rows that it must never forget are not the agreed ones: {digest[:12]}"], {}, []
    if held.champion is None:
        return ["the champion does not answer the rows that it must never forget"], {}, []
    gain = float(gains(held).mean())
    unit = UNITS[held.classifies]
    words = f"{signed_hundredths(gain)} {unit} on {held.rows} rows that it must never forget"
    fault = [f"it forgets: {words}"] if gain < -rule.max_forgotten else []
    return fault, {"never_forget_gain": gain, "never_forget_rows": float(held.rows)}, [] if fault else [words]


def change(found: Estimate, *, classifies: bool, sign: int = 1) -> str:
    """A change of quality in words, with `sign` -1 its opposite: `+4.1 [+2.0, +6.2] points`; for a regression the unit
    is `% of the error`.
    """
    low, high = sorted((sign * found.low, sign * found.high))
    return f"{signed_interval(sign * found.value, low, high)} {UNITS[classifies]}"
