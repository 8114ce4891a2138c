"""Late labels of captured inferences, as evidence about a rollout that may have ended.

Decides which rows count: only rows that were sampled, because rows that were captured as difficult do not represent the
others. Refuses to know where rows are kept.
"""

from collections.abc import Collection, Iterable

from msgspec.structs import replace

from contract.captured import CapturedRow
from contract.labels import LARGEST, Answer, Unusable, same_label, settle_label
from controller.rollout.analysis import judge_all
from controller.rollout.facts import Sums
from controller.rollout.model import Rollout
from controller.rollout.rows import Rows
from controller.rollout.verdict import RuleVerdict

LABEL_METRICS = frozenset({"accuracy_drop", "error_increase"})

STRETCH_S = 3600.0
"""Length in seconds of the interval in which two sides are compared. Sampled rows are few, so it is an hour."""


def judge_late(rollout: Rollout, rows: Iterable[tuple[str, CapturedRow]]) -> tuple[RuleVerdict, ...]:
    """What the rollout's own rules about labels say of (device, row) with labels; stopped strata are left out."""
    rules = tuple(rule for rule in rollout.strategy.rules if rule.metric in LABEL_METRICS)
    strategy = replace(rollout.strategy, rules=tuple(replace(rule, judged_s=0.0) for rule in rules))
    again = replace(rollout, strategy=strategy, evidence_since=0.0)
    members = [member.device for member in rollout.members]
    outcomes = dict.fromkeys(members, "succeeded")
    return judge_all(again, _rows(rollout, set(members), rows), outcomes, 0.0)  # type: ignore[arg-type]


def _rows(rollout: Rollout, members: Collection[str], found: Iterable[tuple[str, CapturedRow]]) -> Rows:
    rows = Rows()
    for device, row in found:
        if device not in members or row.why != "sampled" or row.label is None or row.value is None:
            continue
        if (one := _one(row.value, row.label)) is not None:
            rows.add_row(device, row.at // STRETCH_S * STRETCH_S, one, treated=row.release == rollout.release)
    return rows


def _one(value: Answer, label: Answer) -> Sums | None:
    """One row: right or wrong, and where both are numbers, how far apart; None where the label is missing or none."""
    if settle_label(label, regression=False) in (None, Unusable.LABEL):
        return None
    correct = same_label(value, label)
    truth = settle_label(label, regression=True)
    if not isinstance(value, float) or not isinstance(truth, float) or abs(value) > LARGEST:
        return Sums(inferences=1, labelled=1, correct=correct)
    distance = min(abs(value - truth), LARGEST)
    return Sums(
        inferences=1,
        labelled=1,
        measured=1,
        absolute_error_sum=distance,
        squared_error_sum=distance * distance,
        label_sum=truth,
        squared_label_sum=truth * truth,
    )
