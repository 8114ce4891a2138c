"""What people write beside rollouts and models. Each step is in the audit; mentioned people are notified by an event.

Decides that a rollout or a model must exist before people can write about it. Refuses to know HTTP.
"""

from controller.clock import stamp
from controller.registry.discussions import About, Discussion, Review, mentioned
from controller.state import State
from controller.verbs.rollouts import find
from controller.written import Written

MAX_AUDITED_CHARS = 500
"""Characters of a text in the audit; the whole text is stored with its rollout or model."""


def of(state: State, about: About, name: str) -> Discussion:
    """Returns what was written. BadInput `unknown_rollout`, `unknown_model`."""
    if about == "rollout":
        find(state, name)
    else:
        state.registry.versions(name)
    return state.discussions.of(about, name)


def write_note(state: State, about: About, name: str, text: str, *, actor: str) -> Discussion:
    """Replaces the note. BadInput as `of`, `request_invalid`."""
    of(state, about, name)
    found = state.discussions.write_note(about, name, Written(text=text, by=actor, at=stamp()))
    _tell(state, about, name, "note", text or "removed", actor=actor)
    return found


def set_ticket(state: State, about: About, name: str, ticket: str, *, actor: str) -> Discussion:
    """Sets the ticket's address. BadInput as `of`, `request_invalid`."""
    of(state, about, name)
    found = state.discussions.set_ticket(about, name, ticket)
    _tell(state, about, name, "ticket", ticket or "removed", actor=actor)
    return found


def comment(state: State, about: About, name: str, text: str, *, actor: str) -> Discussion:
    """Appends a comment. BadInput as `of`, `request_invalid`."""
    of(state, about, name)
    found = state.discussions.comment(about, name, Written(text=text, by=actor, at=stamp()))
    _tell(state, about, name, "comment", text, actor=actor)
    return found


def ask_review(state: State, about: About, name: str, who: str, text: str, *, actor: str) -> Discussion:
    """Asks a person to look; their next comment or approval ends that. BadInput as `of`, `request_invalid`."""
    of(state, about, name)
    found = state.discussions.ask(about, name, Review(who=who, by=actor, at=stamp(), text=text))
    _tell(state, about, name, "review", f"@{who}: {text or 'please look at it'}", actor=actor)
    return found


def _tell(state: State, about: About, name: str, what: str, text: str, *, actor: str) -> None:
    """Writes one entry in the audit, and makes an event for each name in the text."""
    state.journal.audit(stamp(), actor, f"{about} {what}", name, text[:MAX_AUDITED_CHARS])
    for who in mentioned(text):
        state.events.tell_mention(about, name, who, by=actor, text=text[:MAX_AUDITED_CHARS])
