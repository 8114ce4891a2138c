"""A text that a person wrote about a version or a device."""

from edgeward.answers.answer import Answer, Time


class Written(Answer, frozen=True):
    """A text with its author and its time."""

    text: str
    by: str
    at: Time
