"""What becomes of refused attempts: the first of a kind goes to the audit at once, the rest as a count.

Decides nothing but the time. Refuses to know what was refused, and how entries are counted: that is `trust.refusals`.
"""

import time
from collections.abc import Iterable

from controller.clock import stamp
from controller.state import State
from controller.trust.refusals import Refusal


def refuse(state: State, refusal: Refusal) -> None:
    """Audits a refused attempt: the first of its kind in a minute, and later how many followed."""
    audit(state, state.refusals.note(refusal, time.time()))


def audit(state: State, due: Iterable[Refusal]) -> None:
    """Appends entries that are due."""
    for each in due:
        state.journal.audit(stamp(), each.actor, each.action, each.subject, each.detail)
