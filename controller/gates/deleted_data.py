"""The gate on deleted data: no device gets a version that was trained on rows that had to be deleted.

Decides by the state of the data sets that the version names. Refuses to know who requested a deletion, and when.
"""

from controller.gates.evidence import Evidence
from controller.gates.policy import GatePolicy
from controller.gates.verdict import GateVerdict


def judge_deleted_data(_policy: GatePolicy, evidence: Evidence) -> GateVerdict | None:
    """Fails if a data set has lost rows with which the version may be trained; None for a version that names no data
    set.
    """
    if not evidence.data_sets:
        return None
    lost = [f"{name}: {evidence.lost_rows[name]}" for name in evidence.data_sets if name in evidence.lost_rows]
    return GateVerdict(
        gate="deleted_data",
        passed=not lost,
        detail=("trained on deleted rows: " + "; ".join(lost))[:500] if lost else "no row that it names was deleted",
        evidence={"data_sets": len(evidence.data_sets), "data_sets_lost": len(lost)},
        remedy="make the data set's next version with edgeward data make, and train on that",
    )
