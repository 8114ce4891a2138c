"""The gate on operators: only those on a list, for example those that an accelerator runs."""

from controller.gates.evidence import Evidence
from controller.gates.policy import GatePolicy
from controller.gates.verdict import GateVerdict

MAX_NAMED = 5


def judge_operators(policy: GatePolicy, evidence: Evidence) -> GateVerdict | None:
    """Fails for an operator that is not on the list, or if they were not read; None without a list."""
    if not policy.operators:
        return None
    if evidence.operators is None:
        return GateVerdict(gate="operators", passed=False, detail="nobody has looked", remedy="push it again")
    foreign = [name for name in evidence.operators if name not in policy.operators]
    return GateVerdict(
        gate="operators",
        passed=not foreign,
        detail=f"{', '.join(foreign[:MAX_NAMED])} are not allowed"
        if foreign
        else f"{len(evidence.operators)} are allowed",
        evidence={"operators": len(evidence.operators), "foreign": len(foreign)},
        remedy="a model without these operators, or allow them in its policy: edgeward model policy --help",
    )
