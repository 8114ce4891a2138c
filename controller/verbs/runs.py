"""Keeps runs that people send, and compares two of them.

Decides that only the first sender of a run may replace it. Refuses to know HTTP.
"""

from contract.errors import BadInput, Code
from contract.run_compare import Row, compare
from contract.run_sent import SentRun, check_sent
from controller.clock import stamp
from controller.registry.runs import KeptRun
from controller.state import State


def keep(state: State, run: str, sent: SentRun, *, actor: str) -> KeptRun:
    """Keeps a run. BadInput `request_invalid` for one that is too large or has another id, `forbidden` for a run of
    another person.
    """
    check_sent(sent)
    if sent.record.id != run:
        raise BadInput(
            Code.REQUEST_INVALID, f"the address names run {run[:64]!r}, and the body {sent.record.id[:64]!r}"
        )
    known = state.runs.known(run)
    if known is not None and known.sent_by != actor:
        raise BadInput(Code.FORBIDDEN, f"run {run} was sent by {known.sent_by}: only they may send it again")
    state.runs.keep(sent, actor, stamp())
    if known is None or known.record.status != sent.record.status:
        pushed = ", ".join(f"{each.model} v{each.release}" for each in sent.record.pushed)
        words = f"{sent.record.name}, {sent.record.status}{f'; pushed {pushed}' if pushed else ''}"
        state.journal.audit(stamp(), actor, "run send", run, words)
    return state.runs.find(run)


def compared(state: State, before: str, after: str) -> list[Row]:
    """Returns everything in which two runs differ. BadInput `unknown_run`."""
    return compare(state.runs.find(before).record, state.runs.find(after).record)
