"""The gate on the split: if rows have a time, held-out rows must be later than the rows that the model was trained on.

A random split of a series shows a model its own future: one series (appliances) scores .905 with it, and .78 with a
split by time.
"""

from controller.gates.evidence import Evidence
from controller.gates.policy import GatePolicy
from controller.gates.verdict import GateVerdict

GATE = "split"
TRAINED_UNTIL = "trained_until_s"
"""The time of the newest training row, in the evidence of this gate: the next candidate is not compared on rows that
this version has learned."""
_REMEDY = "hold out the newest rows and fit on those before: edgeward.split_by_time(frame, time=..., held_out=0.2)"


def judge_split(policy: GatePolicy, evidence: Evidence) -> GateVerdict | None:
    """Fails if a held-out row is not later than every training row, or if the end of the training rows is not stated.

    In a backtest these are the training rows of the fit that has answered the row. None if held-out rows have no time.
    """
    held = evidence.held_out
    if held is None or held.times is None:
        return None
    until = held.trained_until
    if until is None:
        detail = f"{held.rows} held-out rows have a time, and it is not said when the training rows end"
        return GateVerdict(gate=GATE, passed=False, detail=detail, remedy=f"say trained_until; {_REMEDY}")
    early = int((held.times <= (until if held.fitted_until is None else held.fitted_until)).sum())
    return GateVerdict(
        gate=GATE,
        passed=early == 0,
        detail=f"{early} of {held.rows} held-out rows are not later than the last training row",
        evidence={"early_rows": early, "rows": held.rows, TRAINED_UNTIL: until},
        remedy=_REMEDY,
    )
