"""All gates in their order: they take the measurements of a version and the policy of its model, and return verdicts.

Decides which gates there are. Refuses to know the consequences of a verdict.
"""

from collections.abc import Callable

from msgspec.structs import replace

from controller.gates.champion import judge_retrained
from controller.gates.deleted_data import judge_deleted_data
from controller.gates.evidence import Evidence
from controller.gates.fairness import judge_fairness
from controller.gates.held_out import judge_held_out
from controller.gates.latency import judge_latency
from controller.gates.licence import judge_licence
from controller.gates.memory import judge_memory
from controller.gates.operators import judge_operators
from controller.gates.own import judge_own
from controller.gates.parity import MAX_ROWS_BEYOND, Parity, judge_parity
from controller.gates.policy import GatePolicy
from controller.gates.power import detectable_rate
from controller.gates.signature import judge_signature
from controller.gates.size import judge_size
from controller.gates.slices import judge_slices
from controller.gates.split import judge_split
from controller.gates.verdict import GateVerdict

Gate = Callable[[GatePolicy, Evidence], GateVerdict | None]
GATES: tuple[Gate, ...] = (
    judge_size, judge_memory, judge_latency, judge_split, judge_held_out, judge_slices, judge_fairness,
    judge_signature, judge_licence, judge_operators, judge_deleted_data,
)  # fmt: skip
"""Gates beside parity and those of the user's own. Each gate returns None if its policy sets no limit."""


def judge_all(policy: GatePolicy, evidence: Evidence) -> tuple[GateVerdict, ...]:
    """Returns the verdict of every gate that has something to judge, parity first. Only a failed gate has a remedy."""
    found = (gate(policy, evidence) for gate in GATES)
    judged = [verdict for verdict in found if verdict is not None]
    retrained = judge_retrained(evidence)
    champion = () if retrained is None else (retrained,)
    verdicts = (_parity(evidence.parity), *judged, *champion, *judge_own(policy, evidence))
    return tuple(replace(verdict, remedy="") if verdict.passed else verdict for verdict in verdicts)


def _parity(parity: Parity) -> GateVerdict:
    """Returns the verdict of the parity gate with its numbers and its power."""
    rows = parity.sample.rows
    rate = detectable_rate(rows, int(rows * MAX_ROWS_BEYOND))
    return replace(
        judge_parity(parity),
        evidence={
            "sample_rows": rows,
            "sample_differing": parity.sample.differing,
            "boundary_rows": parity.boundary.rows,
            "boundary_differing": parity.boundary.differing,
            "ties": parity.ties,
        },
        power=f"would catch {100 * rate:.2g} % of rows that differ with 95 %" if parity.reference != "none" else "",
    )
