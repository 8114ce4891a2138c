"""The gate on the time that one row takes, on one thread of the controller; devices are slower by their own factor."""

from controller.gates.evidence import Evidence
from controller.gates.policy import GatePolicy
from controller.gates.verdict import GateVerdict


def judge_latency(policy: GatePolicy, evidence: Evidence) -> GateVerdict | None:
    """Fails above `max_latency_us_p95`, or if nothing could be measured; None without that limit."""
    limit, measured = policy.max_latency_us_p95, evidence.latency_us_p95
    if limit is None:
        return None
    if measured is None:
        return GateVerdict(gate="latency", passed=False, detail="it was not measured", remedy="push it again")
    return GateVerdict(
        gate="latency",
        passed=measured <= limit,
        detail=f"one row takes {measured:.4g} us (p95) on the controller, limit {limit:g} us",
        evidence={"latency_us_p95": measured, "latency_us_p50": evidence.latency_us_p50 or 0.0, "limit_us": limit},
        remedy="a smaller model, or variants: int8 is faster from one megabyte on",
    )
