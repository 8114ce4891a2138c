"""A text that somebody wrote about a version or a device.

Decides how many comments one place takes, from everybody and from one author. Refuses to know where they are stored
and how long they may be.
"""

from collections.abc import Sequence

from contract.errors import BadInput, Code
from contract.wire import Message

MAX_COMMENTS = 200
"""The most comments of one version, model or rollout; a longer discussion belongs into an issue tracker, and its
address into a comment."""
MAX_COMMENTS_OF_ONE = 50
"""The most of one author: a reader who may only look cannot close a discussion for all others."""


class Written(Message, frozen=True):
    """A text with who wrote it and when."""

    text: str
    by: str
    at: str


def check_room(place: str, comments: Sequence[Written], author: str) -> None:
    """Raises BadInput `request_invalid` if a place takes no further comment, or none of this author."""
    if len(comments) >= MAX_COMMENTS:
        raise BadInput(Code.REQUEST_INVALID, f"{place} has {MAX_COMMENTS} comments, which is the limit")
    if sum(each.by == author for each in comments) >= MAX_COMMENTS_OF_ONE:
        words = f"{place} has {MAX_COMMENTS_OF_ONE} comments by {author}, which is the limit for one author"
        raise BadInput(Code.REQUEST_INVALID, words)
