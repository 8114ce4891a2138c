"""Rollout templates: a strategy with its selector and hours under a name, so that the next rollout is like the last.

Decides what a template may hold, which of its revisions are kept, and that the fields of a start replace its
fields. A rollout copies these fields, so a later change of the template does not affect it. Refuses to know HTTP.
"""

import time
from collections.abc import Mapping

import msgspec

from contract.errors import BadInput, Code
from contract.names import check_name
from contract.protocol import MAX_LABELS
from contract.wire import Message
from controller.clock import stamp
from controller.registry.store import Store
from controller.rollout.check import check_strategy
from controller.rollout.model import Strategy
from controller.rollout.schedule import Schedule, check_schedule
from controller.state import State
from controller.verbs.device_labels import check_label

MAX_TEMPLATES = 500
MAX_REVISIONS = 20
"""Revisions that are kept of one template, the newest: enough for the changes of a year."""
MAX_NOTE_CHARS = 500
_TABLE = "rollout_templates"


class Template(Message, frozen=True):
    """One revision of a template."""

    name: str
    revision: int
    """From 1 on; each save makes the next one."""
    strategy: Strategy
    selector: dict[str, str]
    """Labels that a device must have; empty: every device."""
    hours: tuple[str, ...]
    """Hours in UTC in which offers are made; empty: all."""
    note: str
    by: str
    at: str


class _Kept(Message, frozen=True):
    """All kept revisions of a template, the oldest first."""

    revisions: tuple[Template, ...]


class Filled(msgspec.Struct, frozen=True):
    """The settings of a rollout: those of the start, and of the template for omitted ones."""

    strategy: Strategy | None
    """None: neither names one."""
    selector: dict[str, str]
    schedule: Schedule
    source: str = ""
    """The template and its revision in words; empty for none."""


def save(
    state: State,
    name: str,
    strategy: Strategy,
    selector: Mapping[str, str],
    hours: tuple[str, ...],
    *,
    note: str,
    actor: str,
) -> Template:
    """Saves the next revision of a template. BadInput `name_invalid`, `strategy_invalid`, `request_invalid`."""
    check_name(name, "template")
    check_strategy(strategy)
    check_schedule(Schedule(hours=hours), time.time())
    _check(selector, note)
    known = state.store.all(_TABLE)
    if len(known) >= MAX_TEMPLATES and name not in known:
        raise BadInput(Code.REQUEST_INVALID, f"there are {MAX_TEMPLATES} templates: delete one first")
    before = revisions(state.store, name) if name in known else []
    made = Template(
        name=name,
        revision=before[-1].revision + 1 if before else 1,
        strategy=strategy,
        selector=dict(selector),
        hours=hours,
        note=note,
        by=actor,
        at=stamp(),
    )
    kept = _Kept((*before, made)[-MAX_REVISIONS:])
    state.store.put(_TABLE, {name: msgspec.to_builtins(kept)})
    state.journal.audit(made.at, actor, "template save", name, f"revision {made.revision}: {words_of(made)}"[:500])
    return made


def delete(state: State, name: str, *, actor: str) -> Template:
    """Deletes a template with all its revisions; returns the newest. BadInput `request_invalid` if there is none."""
    found = revisions(state.store, name)[-1]
    state.store.delete(_TABLE, name)
    state.journal.audit(stamp(), actor, "template delete", name, f"it was {words_of(found)}"[:500])
    return found


def revisions(store: Store, name: str) -> list[Template]:
    """Returns the kept revisions of a template, the oldest first. BadInput `request_invalid` names those that exist."""
    found = store.get(_TABLE, name)
    if found is None:
        known = ", ".join(sorted(store.all(_TABLE))[:20]) or "none"
        raise BadInput(Code.REQUEST_INVALID, f"no template {name[:64]!r}; saved: {known}")
    return list(msgspec.convert(found, _Kept).revisions)


def every(store: Store) -> list[Template]:
    """Returns the newest revision of all templates, sorted by name."""
    return [revisions(store, name)[-1] for name in sorted(store.all(_TABLE))]


def fill(store: Store, name: str, strategy: Strategy | None, selector: dict[str, str], schedule: Schedule) -> Filled:
    """Returns the settings of a start: strategy, selector or hours that it omits are those of the template.

    BadInput `request_invalid` for a template that does not exist. An empty name is no template.
    """
    if not name:
        return Filled(strategy, selector, schedule)
    kept = revisions(store, name)[-1]
    return Filled(
        strategy=strategy or kept.strategy,
        selector=selector or kept.selector,
        schedule=msgspec.structs.replace(schedule, hours=schedule.hours or kept.hours),
        source=f"template {name}, revision {kept.revision} by {kept.by}",
    )


def words_of(template: Template) -> str:
    """Returns what a template says, in words."""
    labels = " ".join(f"{key}={value}" for key, value in sorted(template.selector.items())) or "every device"
    hours = f", in {' and '.join(template.hours)}" if template.hours else ""
    return f"{template.strategy.name} to {labels}{hours}" + (f"; {template.note}" if template.note else "")


def _check(selector: Mapping[str, str], note: str) -> None:
    if len(selector) > MAX_LABELS:
        raise BadInput(Code.REQUEST_INVALID, f"{len(selector)} labels: a selector has at most {MAX_LABELS}")
    for key, value in selector.items():
        check_label(key, value)
    if len(note) > MAX_NOTE_CHARS:
        raise BadInput(Code.REQUEST_INVALID, f"a note of {len(note)} characters: at most {MAX_NOTE_CHARS}")
