"""A text that somebody wrote, about a version or a device."""

from edgeward.answers.answer import Answer, Time


class Written(Answer, frozen=True):
    """A text with who wrote it and when."""

    text: str
    by: str
    at: Time
