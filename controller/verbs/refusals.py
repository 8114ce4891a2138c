"""Refused attempts in the audit: the first of a kind is written at once, the others as a count.

Decides only the time of an entry. Refuses to know what was refused, and how attempts are counted:
`controller/trust/refusals.py` does that.
"""

import time
from collections.abc import Iterable

from controller.clock import stamp
from controller.state import State
from controller.trust.refusals import Refusal


def refuse(state: State, refusal: Refusal) -> None:
    """Counts a refused attempt, and audits the entries that are due: the first of a kind in a minute, or a count."""
    audit(state, state.refusals.note(refusal, time.time()))


def audit(state: State, due: Iterable[Refusal]) -> None:
    """Appends these entries to the audit."""
    for each in due:
        state.journal.audit(stamp(), each.actor, each.action, each.subject, each.detail)
