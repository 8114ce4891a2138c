"""Late labels: the true answers for rows that devices have captured.

Decides nothing about rollouts: `rollouts.judge_again` does that.
"""

from collections.abc import Mapping

from controller.clock import stamp
from controller.state import State


def label_rows(state: State, model: str, labels: Mapping[int, str | float], *, actor: str) -> int:
    """Sets the labels of a model's captured rows, by id. Returns how many of these rows exist."""
    count = state.captures.label(model, labels)
    state.journal.audit(stamp(), actor, "rows label", model, f"{count} of {len(labels)} rows")
    return count
