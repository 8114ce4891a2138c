"""Late labels of captured inferences and late numbers, as evidence about a rollout that may have ended.

Decides which rows count: only rows that were sampled, because rows that were captured as difficult do not represent the
others. Refuses to know where rows are kept.
"""

from collections.abc import Collection, Iterable

from msgspec.structs import replace

from contract.captured import CapturedRow
from contract.labels import LARGEST, Answer, Unusable, plain_label, same_label, settle_label
from controller.rollout.analysis import judge_all
from controller.rollout.facts import Sums
from controller.rollout.model import NAMED_METRICS, Metric, Rollout
from controller.rollout.outcome import MemberOutcome
from controller.rollout.rows import Rows
from controller.rollout.verdict import RuleVerdict

LABEL_METRICS: frozenset[Metric] = frozenset({"accuracy_drop", "error_increase"})

STRETCH_S = 3600.0
"""Seconds of the interval in which two sides are compared. Sampled rows are few, so it is an hour."""


def judge_late(
    rollout: Rollout, rows: Iterable[tuple[str, CapturedRow]], classes: Collection[Answer] = ()
) -> tuple[RuleVerdict, ...]:
    """Returns the verdicts of the rollout's own rules about labels on (device, row) with labels; stopped strata are
    left out.

    `classes`: the plain labels that versions of the model answer. Rows with another label say nothing about a version.
    Empty: classes are unknown, and all rows count.
    """
    members = {member.device for member in rollout.members}
    known = ((device, row) for device, row in rows if not classes or _is_of(classes, row))
    return _judge_again(rollout, LABEL_METRICS, _rows(rollout, members, known))


def _is_of(classes: Collection[Answer], row: CapturedRow) -> bool:
    return row.label is not None and plain_label(row.label) in classes


def judge_named(rollout: Rollout, rows: Rows) -> tuple[RuleVerdict, ...]:
    """Returns the verdicts of the rules with a name on all numbers from the rollout's members, also after its end,
    because an application may send its numbers days later.
    """
    return _judge_again(rollout, NAMED_METRICS, rows)


def _judge_again(rollout: Rollout, metrics: Collection[Metric], rows: Rows) -> tuple[RuleVerdict, ...]:
    """Returns verdicts of only the rules about these metrics, over everything since the rollout began."""
    rules = tuple(replace(rule, judged_s=0.0) for rule in rollout.strategy.rules if rule.metric in metrics)
    if not rules:
        return ()
    again = replace(rollout, strategy=replace(rollout.strategy, rules=rules), evidence_since=0.0)
    outcomes: dict[str, MemberOutcome] = {member.device: "succeeded" for member in rollout.members}
    return judge_all(again, rows, outcomes, 0.0)


def _rows(rollout: Rollout, members: Collection[str], found: Iterable[tuple[str, CapturedRow]]) -> Rows:
    rows = Rows()
    for device, row in found:
        if device not in members or row.why != "sampled" or row.label is None or row.value is None:
            continue
        if (one := _one(row.value, row.label)) is not None:
            rows.add_row(device, row.at // STRETCH_S * STRETCH_S, one, treated=row.release == rollout.release)
    return rows


def _one(value: Answer, label: Answer) -> Sums | None:
    """Returns one row: right or wrong, and for two numbers their distance; None if the label is missing or invalid."""
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
