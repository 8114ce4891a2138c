"""The gate on the size of a version's file, which devices fetch and store."""

from controller.gates.evidence import Evidence
from controller.gates.policy import GatePolicy
from controller.gates.verdict import GateVerdict


def judge_size(policy: GatePolicy, evidence: Evidence) -> GateVerdict | None:
    """Fails above `max_size_bytes`; None without that limit."""
    limit = policy.max_size_bytes
    if limit is None:
        return None
    size_bytes = evidence.manifest.artifact.length
    return GateVerdict(
        gate="size",
        passed=size_bytes <= limit,
        detail=f"{size_bytes} bytes, limit {limit}",
        evidence={"size_bytes": size_bytes, "limit_bytes": limit},
        remedy="fewer or shallower trees, narrower layers, or push with variants to see what a smaller form saves",
    )
