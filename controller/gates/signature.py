"""The gate on the signature: applications beside the devices' agents must be able to call the version unchanged."""

from contract.interface import interface_change
from controller.gates.evidence import Evidence
from controller.gates.policy import GatePolicy
from controller.gates.verdict import GateVerdict


def judge_signature(policy: GatePolicy, evidence: Evidence) -> GateVerdict | None:
    """Fails if callers of a version that devices run would have to change; None without `same_signature`."""
    if not policy.same_signature:
        return None
    changes = {each: interface_change(each.manifest, evidence.manifest) for each in evidence.callers}
    broken = [f"v{caller.release} ({caller.devices} devices): {change}" for caller, change in changes.items() if change]
    return GateVerdict(
        gate="signature",
        passed=not broken,
        detail="; ".join(broken) or f"callers of {len(evidence.callers)} versions on devices need not change",
        evidence={"versions": len(evidence.callers), "broken": len(broken)},
        remedy="keep names, types, shapes and order, or push it under another model's name",
    )
