"""The audit itself: the controller's own actions, requested entries, and whether the audit is complete.

Decides under which name the controller acts. Refuses to know what an action means.
"""

from importlib.metadata import version
from typing import Any

from contract import audit as chain
from controller.clock import stamp
from controller.reconcile.deeds import Deed
from controller.registry.journal import AuditFilter
from controller.state import STARTED, State

CONTROLLER = "controller"
"""The actor of actions without a request of a person: no token may have this name."""


def note(state: State, *deeds: Deed) -> None:
    """Appends what the controller did by itself; WorldError `disk_full`: then nothing was added."""
    if deeds:
        told = [(each.action, each.subject, with_trace(state, each.subject, each.detail)) for each in deeds]
        state.journal.audit_all(stamp(), CONTROLLER, told)


def with_trace(state: State, subject: str, words: str) -> str:
    """Returns the words of an entry; about a rollout that is traced they end in the id of its trace."""
    rollout = state.world.durable.rollouts.get(subject)
    trace_id = state.events.trace_of(rollout) if rollout is not None else ""
    return "; ".join(part for part in (words, f"trace {trace_id}" if trace_id else "") if part)


def begin(state: State) -> None:
    """Appends the first entries of a starting controller: its start, and faults of the audit."""
    found = [Deed("audit broken", "audit", state.audit_fault)] if state.audit_fault else []
    note(state, *found, Deed(STARTED, "controller", f"edgeward {version('edgeward')}"))


def tell_new_root(state: State) -> None:
    """Appends an entry for each root that was published, once for each."""
    subject = f"root {state.trust_metadata.newest_root}"
    if state.told_root == subject:
        return
    known = AuditFilter(actor=CONTROLLER, action="trust publish", subject=subject)
    if all(entry["subject"] != subject for entry in state.journal.audit_entries(10, wanted=known)):
        note(state, Deed("trust publish", subject, "devices follow it from now on"))
    state.told_root = subject


def tell_broker(state: State, kind: str, fault: str) -> None:
    """Appends that a started broker ended by itself, or that it was restarted."""
    action = "broker lost" if fault else "broker restart"
    note(state, Deed(action, kind, fault or "it had ended by itself"))


def whole(state: State) -> tuple[list[dict[str, Any]], list[str]]:
    """Returns every entry, oldest first, and what is wrong with them, by their chain and by all checkpoints that are
    here.
    """
    entries = state.journal.whole_audit()
    known = [each for each in (state.trust_metadata.audit_witness(), state.audit_seal.checkpoint) if each]
    faults = chain.faults(entries, known)
    return entries, [*faults, *([state.audit_seal.fault] if state.audit_seal.fault else [])]
