"""The gate on the split: where rows have a time, held-out rows lie behind the rows that the model was trained on.

A random split of a series tells a model its own future: appliances reach .905 on one, and .78 on a split by time.
"""

from controller.gates.evidence import Evidence
from controller.gates.policy import GatePolicy
from controller.gates.verdict import GateVerdict

_REMEDY = "hold out the newest rows and fit on those before: edgeward.split_by_time(frame, time=..., held_out=0.2)"


def judge_split(policy: GatePolicy, evidence: Evidence) -> GateVerdict | None:
    """Fails if a held-out row is not later than every training row, or nobody said when those end.

    None where held-out rows have no time.
    """
    held = evidence.held_out
    if held is None or held.times is None:
        return None
    until = held.trained_until
    if until is None:
        detail = f"{held.rows} held-out rows have a time, and it is not said when the training rows end"
        return GateVerdict(gate="split", passed=False, detail=detail, remedy=f"say trained_until; {_REMEDY}")
    early = int((held.times <= until).sum())
    return GateVerdict(
        gate="split",
        passed=early == 0,
        detail=f"{early} of {held.rows} held-out rows are not later than the last training row",
        evidence={"early_rows": early, "rows": held.rows},
        remedy=_REMEDY,
    )
