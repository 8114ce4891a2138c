"""Refused attempts in the audit: the first of a kind is written at once, the others as a count.

Decides that a disk that refuses entries does not change answers, and that the entries wait until it accepts them.
Refuses to know what was refused, and how entries are counted: that is `trust.refusals`.
"""

import logging
import time
from collections.abc import Iterable

from contract.errors import WorldError
from controller.clock import stamp
from controller.state import State
from controller.trust.refusals import Refusal

_log = logging.getLogger("edgeward.controller")


def refuse(state: State, refusal: Refusal) -> None:
    """Counts a refused attempt, and audits the entries that are due: the first of a kind in a minute, or a count."""
    audit(state, state.refusals.note(refusal, time.time()))


def audit(state: State, due: Iterable[Refusal]) -> None:
    """Appends entries that are due, after those that an earlier fault of the disk has delayed."""
    waiting = state.refusals.unwritten
    waiting.extend(due)
    try:
        while waiting:
            each = waiting[0]
            state.journal.audit(stamp(), each.actor, each.action, each.subject, each.detail)
            waiting.popleft()
    except WorldError as error:
        _log.error("%d refused attempts could not be audited and wait: %s", len(waiting), error)
