"""Gates of the user's own: Python functions that ran where the model was pushed. Their verdicts are accepted unchecked.

Decides only that the required ones are there. `judged_by` names the person who has run them, so that they are not
mistaken for measurements of the controller.
"""

from collections.abc import Iterator

from controller.gates.evidence import Evidence
from controller.gates.policy import GatePolicy
from controller.gates.verdict import GateVerdict

PREFIX = "own "


def judge_own(policy: GatePolicy, evidence: Evidence) -> Iterator[GateVerdict]:
    """Returns every verdict that was sent, and a failed one for each that is required and missing."""
    yield from evidence.own
    brought = {verdict.gate for verdict in evidence.own}
    for name in policy.own:
        if f"{PREFIX}{name}" not in brought:
            yield GateVerdict(
                gate=f"{PREFIX}{name}",
                passed=False,
                detail="it is required and was not run",
                remedy=f"push with gates={{{name!r}: function}}",
            )
