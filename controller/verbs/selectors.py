"""Saved selectors: labels under a name, so that rollouts and lists of devices use the same part of the fleet.

Decides what a selector may contain. A rollout keeps the labels themselves, so a later change of the selector does not
affect it. Refuses to know HTTP.
"""

from collections.abc import Mapping

import msgspec

from contract.errors import BadInput, Code
from contract.names import check_name
from contract.near_names import is_it, some_of
from contract.protocol import MAX_LABELS
from contract.wire import Message
from controller.clock import stamp
from controller.registry.store import Store
from controller.state import State
from controller.verbs.device_labels import check_label

MAX_SELECTORS = 500
_TABLE = "selectors"


class Selector(Message, frozen=True):
    """Labels under a name."""

    name: str
    labels: dict[str, str]
    by: str
    at: str


def save(state: State, name: str, labels: Mapping[str, str], *, actor: str) -> Selector:
    """Saves labels under a name. BadInput `name_invalid`, `request_invalid`."""
    check_name(name, "selector")
    if not 0 < len(labels) <= MAX_LABELS:
        raise BadInput(Code.REQUEST_INVALID, f"{len(labels)} labels: a selector has 1 to {MAX_LABELS}")
    for key, value in labels.items():
        check_label(key, value)
    known = state.store.all(_TABLE)
    if len(known) >= MAX_SELECTORS and name not in known:
        raise BadInput(Code.REQUEST_INVALID, f"there are {MAX_SELECTORS} selectors: delete one first")
    made = Selector(name=name, labels=dict(labels), by=actor, at=stamp())
    before = f"; it was {_words(saved(state.store, name).labels)}" if name in known else ""
    state.store.put(_TABLE, {name: msgspec.to_builtins(made)})
    state.journal.audit(made.at, actor, "selector save", name, f"{_words(labels)}{before}"[:500])
    return made


def delete(state: State, name: str, *, actor: str) -> Selector:
    """Deletes a selector; returns what it was. BadInput `request_invalid` if there is none."""
    found = saved(state.store, name)
    state.store.delete(_TABLE, name)
    state.journal.audit(stamp(), actor, "selector delete", name, f"it was {_words(found.labels)}")
    return found


def saved(store: Store, name: str) -> Selector:
    """Returns a selector by its name. BadInput `request_invalid` names those that exist."""
    found = store.get(_TABLE, name)
    if found is None:
        known = sorted(store.all(_TABLE))
        near = is_it(name, known) or f"; saved: {some_of(known)}"
        raise BadInput(Code.REQUEST_INVALID, f"no selector {name[:64]!r}{near}")
    return msgspec.convert(found, Selector)


def every(store: Store) -> list[Selector]:
    """Returns all selectors, sorted by name."""
    return [saved(store, name) for name in sorted(store.all(_TABLE))]


def _words(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(labels.items()))
