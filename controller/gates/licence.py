"""The gate on the licence: only models with an accepted licence may reach devices."""

from controller.gates.evidence import Evidence
from controller.gates.policy import GatePolicy
from controller.gates.verdict import GateVerdict


def judge_licence(policy: GatePolicy, evidence: Evidence) -> GateVerdict | None:
    """Fails for a licence that is not on the list, or that is not stated; None without a list."""
    if not policy.licences:
        return None
    allowed = ", ".join(policy.licences)
    said = evidence.licence or "no licence"
    return GateVerdict(
        gate="licence",
        passed=evidence.licence in policy.licences,
        detail=f"{said} was said; allowed are {allowed}",
        remedy=f"push with licence= one of {allowed}",
    )
