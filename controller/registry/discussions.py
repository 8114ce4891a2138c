"""The texts that people write about a rollout or a model: a note, a ticket's address, comments, and who was asked
to look at it.

Decides how much people may write, which names a text mentions, and who has not looked yet. Refuses to know what the
texts mean, and which people exist.
"""

import re
from typing import Literal

import msgspec

from contract.errors import BadInput, Code
from contract.kept import convert_kept
from contract.wire import Message
from controller.registry.notes import MAX_TEXT_CHARS
from controller.registry.store import Store
from controller.written import Written, check_room

MAX_TICKET_CHARS = 500
MAX_REVIEWERS = 20
"""The most people who may be asked to look at one rollout or model; it limits the size of the stored document."""
MAX_ASKED_BY_ONE = 5
"""The most people whom one author waits for beside one rollout or model: others can still ask somebody."""
MAX_MENTIONS = 10
"""The most people that one text can notify."""
_TABLE = "discussions"
_MENTION = re.compile(r"(?<![\w@])@([A-Za-z0-9][A-Za-z0-9._-]{0,63})")
About = Literal["rollout", "model"]


class Review(Message, frozen=True):
    """A person who was asked to look at a rollout or a model."""

    who: str
    by: str
    """The person who asked."""
    at: str
    text: str = ""
    done_at: str = ""
    """When the person wrote a comment or approved; empty before that."""


class Discussion(Message, frozen=True):
    """All texts that people wrote about one rollout or model."""

    note: Written | None = None
    ticket: str = ""
    """The address of a ticket, `https://...`; empty for none."""
    comments: tuple[Written, ...] = ()
    """Oldest first."""
    reviews: tuple[Review, ...] = ()

    @property
    def waits_for(self) -> tuple[str, ...]:
        """The names of the people who have not looked yet."""
        return tuple(each.who for each in self.reviews if not each.done_at)


class Discussions:
    """The discussions of all rollouts and models, in a Store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def of(self, about: About, name: str) -> Discussion:
        """The texts about a rollout or a model; an empty discussion if nothing was written."""
        doc = self._store.get(_TABLE, f"{about} {name}")
        return Discussion() if doc is None else convert_kept(doc, Discussion)

    def write_note(self, about: About, name: str, note: Written) -> Discussion:
        """Replaces the note; an empty text removes it. BadInput `request_invalid`."""
        _check_length(note.text, MAX_TEXT_CHARS)
        kept = note if note.text.strip() else None
        return self._keep(about, name, msgspec.structs.replace(self.of(about, name), note=kept))

    def set_ticket(self, about: About, name: str, ticket: str) -> Discussion:
        """Sets the ticket's address; an empty one removes it. BadInput `request_invalid`."""
        _check_length(ticket, MAX_TICKET_CHARS)
        if ticket and not re.fullmatch(r"https?://[^\s\"'<>]+", ticket):
            raise BadInput(Code.REQUEST_INVALID, f"{ticket[:60]!r}: expected an address such as https://tracker/T-12")
        return self._keep(about, name, msgspec.structs.replace(self.of(about, name), ticket=ticket))

    def comment(self, about: About, name: str, comment: Written) -> Discussion:
        """Appends a comment. If its writer was asked to look, the review is done. BadInput `request_invalid`."""
        _check_length(comment.text, MAX_TEXT_CHARS)
        found = self.of(about, name)
        if not comment.text.strip():
            raise BadInput(Code.REQUEST_INVALID, "a comment needs a text")
        check_room(name, found.comments, comment.by)
        written = msgspec.structs.replace(found, comments=(*found.comments, comment))
        return self._keep(about, name, _looked(written, comment.by, comment.at))

    def ask(self, about: About, name: str, review: Review) -> Discussion:
        """Asks a person to look, also again after they have looked. BadInput `request_invalid`.

        A person who has not looked yet is not asked again: they would be told each time, and the first author be lost.
        """
        _check_length(review.text, MAX_TEXT_CHARS)
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", review.who):
            raise BadInput(Code.REQUEST_INVALID, f"{review.who[:64]!r}: expected the name of a person, as in a token")
        found = self.of(about, name)
        others = tuple(each for each in found.reviews if each.who != review.who)
        waiting = {each.who: each for each in found.reviews if not each.done_at}
        if (first := waiting.get(review.who)) is not None:
            raise BadInput(Code.REQUEST_INVALID, f"{first.by} has asked {review.who} already, who has not looked yet")
        if sum(each.by == review.by for each in waiting.values()) >= MAX_ASKED_BY_ONE:
            words = f"{review.by} waits for {MAX_ASKED_BY_ONE} people beside {name}, which is the limit for one author"
            raise BadInput(Code.REQUEST_INVALID, words)
        if len(others) >= MAX_REVIEWERS:
            raise BadInput(Code.REQUEST_INVALID, f"{name} waits for {MAX_REVIEWERS} people, which is the limit")
        return self._keep(about, name, msgspec.structs.replace(found, reviews=(*others, review)))

    def looked(self, about: About, name: str, who: str, at: str) -> Discussion:
        """Notes that a person has looked, for example by an approval. Changes nothing without a request to look."""
        found = self.of(about, name)
        after = _looked(found, who, at)
        return found if after == found else self._keep(about, name, after)

    def _keep(self, about: About, name: str, found: Discussion) -> Discussion:
        self._store.put(_TABLE, {f"{about} {name}": msgspec.to_builtins(found)})
        return found


def mentioned(text: str) -> tuple[str, ...]:
    """The names after an @ in a text, each once, at most 10."""
    return tuple(dict.fromkeys(_MENTION.findall(text)))[:MAX_MENTIONS]


def _looked(found: Discussion, who: str, at: str) -> Discussion:
    name = who.removeprefix("local:")
    reviews = tuple(
        msgspec.structs.replace(each, done_at=at) if each.who == name and not each.done_at else each
        for each in found.reviews
    )
    return msgspec.structs.replace(found, reviews=reviews)


def _check_length(text: str, limit: int) -> None:
    if len(text) > limit:
        raise BadInput(Code.REQUEST_INVALID, f"{len(text)} characters, limit {limit}")
