"""What people write about versions: aliases, tags, a note, comments. Each step is in the audit.

Decides only that. Refuses to know what an alias is used for, and HTTP.
"""

from collections.abc import Mapping

from controller.clock import stamp
from controller.registry.aliases import Alias
from controller.registry.notes import Notes
from controller.state import State
from controller.written import Written


def set_alias(state: State, model: str, name: str, release: int, *, actor: str) -> Alias:
    """Sets an alias to a version. BadInput `name_invalid`, `unknown_model`, `unknown_version`."""
    alias = Alias(release=release, by=actor, at=stamp())
    before = state.aliases.set(model, name, alias)
    was = f"; it was v{before.release}" if before is not None else ""
    state.journal.audit(alias.at, actor, "alias set", model, f"{name} is v{release}{was}")
    return alias


def remove_alias(state: State, model: str, name: str, *, actor: str) -> None:
    """Removes an alias. BadInput `unknown_version` if there is none."""
    before = state.aliases.remove(model, name)
    state.journal.audit(stamp(), actor, "alias remove", model, f"{name} was v{before.release}")


def tag(state: State, model: str, release: int, changes: Mapping[str, str | None], *, actor: str) -> Notes:
    """Sets tags, and removes those whose value is None."""
    before = state.notes.of(model, release).tags
    notes = state.notes.tag(model, release, changes)
    words = ", ".join(_tag_words(key, value, before.get(key)) for key, value in changes.items())
    state.journal.audit(stamp(), actor, "version tag", f"{model} v{release}", words[:500])
    return notes


def _tag_words(key: str, value: str | None, before: str | None) -> str:
    if value is None:
        return f"{key} removed"
    return f"{key}={value}" + (f" in place of {before}" if before not in {None, value} else "")


def write_note(state: State, model: str, release: int, text: str, *, actor: str) -> Notes:
    """Replaces the note of a version; an empty text removes it."""
    at = stamp()
    notes = state.notes.write_note(model, release, Written(text=text, by=actor, at=at))
    state.journal.audit(at, actor, "version note", f"{model} v{release}", text[:500])
    return notes


def comment(state: State, model: str, release: int, text: str, *, actor: str) -> Notes:
    """Appends a comment to a version."""
    at = stamp()
    notes = state.notes.comment(model, release, Written(text=text, by=actor, at=at))
    state.journal.audit(at, actor, "version comment", f"{model} v{release}", text[:500])
    return notes
