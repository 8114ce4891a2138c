"""The texts that people write about a version after the push: tags, one note, and comments, each with who and when.

Decides how much people may write. Refuses to know what it means.
"""

from collections.abc import Mapping

import msgspec

from contract.errors import BadInput, Code
from contract.kept import convert_kept
from contract.wire import Message
from controller.registry.registry import Registry, key_of
from controller.registry.store import Store
from controller.written import Written, check_room

MAX_TAGS = 64
"""The most tags of one version: a page shows them in one table."""
MAX_KEY_CHARS, MAX_VALUE_CHARS = 64, 512
MAX_TEXT_CHARS = 8_000
"""The longest note or comment: three printed pages."""
_TABLE = "notes"


class Notes(Message, frozen=True):
    """What people wrote about one version."""

    tags: dict[str, str] = {}
    note: Written | None = None
    comments: tuple[Written, ...] = ()
    """Oldest first."""


class NoteStore:
    """The notes of all versions, in a Store."""

    def __init__(self, store: Store, registry: Registry) -> None:
        self._store, self._registry = store, registry

    def of(self, model: str, release: int) -> Notes:
        """Returns the notes of a version; if there are none, those with the tags of its push."""
        doc = self._store.get(_TABLE, key_of(model, release))
        if doc is not None:
            return convert_kept(doc, Notes)
        return Notes(tags=self._registry.version(model, release).lineage.tags)

    def tag(self, model: str, release: int, changes: Mapping[str, str | None]) -> Notes:
        """Sets tags, and removes those whose value is None. BadInput `request_invalid`, `unknown_version`."""
        notes = self.of(model, release)
        tags = {**notes.tags, **{key: value for key, value in changes.items() if value is not None}}
        tags = {key: value for key, value in tags.items() if changes.get(key, value) is not None}
        check_tags(tags)
        return self._keep(model, release, msgspec.structs.replace(notes, tags=dict(sorted(tags.items()))))

    def write_note(self, model: str, release: int, note: Written) -> Notes:
        """Replaces the note; an empty text removes it. BadInput `request_invalid`, `unknown_version`."""
        _check_text(note.text, empty=True)
        kept = note if note.text.strip() else None
        return self._keep(model, release, msgspec.structs.replace(self.of(model, release), note=kept))

    def comment(self, model: str, release: int, comment: Written) -> Notes:
        """Appends a comment. BadInput `request_invalid`, `unknown_version`."""
        _check_text(comment.text, empty=False)
        notes = self.of(model, release)
        check_room(f"{model} v{release}", notes.comments, comment.by)
        return self._keep(model, release, msgspec.structs.replace(notes, comments=(*notes.comments, comment)))

    def _keep(self, model: str, release: int, notes: Notes) -> Notes:
        self._store.put(_TABLE, {key_of(model, release): msgspec.to_builtins(notes)})
        self._registry.changed(model, release)
        return notes


def check_tags(tags: Mapping[str, str]) -> None:
    """Raises BadInput `request_invalid` for too many tags, or one that is too long or has an empty key."""
    if len(tags) > MAX_TAGS:
        raise BadInput(Code.REQUEST_INVALID, f"{len(tags)} tags, limit {MAX_TAGS}")
    for key, value in tags.items():
        if not key.strip() or len(key) > MAX_KEY_CHARS or len(value) > MAX_VALUE_CHARS:
            raise BadInput(
                Code.REQUEST_INVALID,
                f"tag {key[:64]!r}: a key has 1 to {MAX_KEY_CHARS} characters, a value at most {MAX_VALUE_CHARS}",
            )


def _check_text(text: str, *, empty: bool) -> None:
    if len(text) > MAX_TEXT_CHARS:
        raise BadInput(Code.REQUEST_INVALID, f"{len(text)} characters, limit {MAX_TEXT_CHARS}")
    if not empty and not text.strip():
        raise BadInput(Code.REQUEST_INVALID, "a comment needs a text")
