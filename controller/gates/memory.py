"""The gate on the memory that loading a version takes, which for trees is ten times their file."""

from controller.gates.evidence import Evidence
from controller.gates.policy import GatePolicy
from controller.gates.verdict import GateVerdict


def judge_memory(policy: GatePolicy, evidence: Evidence) -> GateVerdict | None:
    """Fails above `max_memory_mb`; None without that limit."""
    limit = policy.max_memory_mb
    if limit is None:
        return None
    return GateVerdict(
        gate="memory",
        passed=evidence.load_mb <= limit,
        detail=f"loading takes {evidence.load_mb:.1f} MB of address space, limit {limit:g} MB",
        evidence={"load_mb": evidence.load_mb, "limit_mb": limit},
        remedy="fewer or shallower trees: their memory grows with the number of nodes",
    )
