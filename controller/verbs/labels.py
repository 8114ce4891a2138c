"""Labels that come late: the truth about rows that devices have captured.

Decides nothing about rollouts: `rollouts.judge_again` does.
"""

from collections.abc import Mapping

from controller.clock import stamp
from controller.state import State


def label_rows(state: State, model: str, labels: Mapping[int, str | float], *, actor: str) -> int:
    """Gives captured rows of a model, by id, their labels; how many of them there are."""
    count = state.captures.label(model, labels)
    state.journal.audit(stamp(), actor, "rows label", model, f"{count} of {len(labels)} rows")
    return count
