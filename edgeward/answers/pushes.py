"""The result of a push, and pushes that are under way."""

from edgeward.answers.answer import Answer, Time
from edgeward.answers.models import VersionDetail


class Pushed(VersionDetail, frozen=True, kw_only=True):
    """The result of a push: a version."""

    new: bool
    """False: these bytes were a version already, and no new one was made."""
    tags_added: dict[str, str] = {}
    """Tags that the existing version got by this push."""
    not_taken: tuple[str, ...] = ()
    """Facts of this push that the existing version does not take: it keeps those of its first push."""

    def __str__(self) -> str:
        return super().__str__() if self.new else "; ".join(self.sentences)

    @property
    def sentences(self) -> tuple[str, ...]:
        """What a push of existing bytes has changed, and what it has not."""
        named = f"{self.model} v{self.release}"
        words = [f"same bytes as {named}: no version was made"]
        if self.tags_added:
            tags = ", ".join(f"{key}={value}" for key, value in self.tags_added.items())
            words.append(f"{named} has got the tags {tags}")
        if self.not_taken:
            words.append(f"{named} keeps its first {', '.join(self.not_taken)}")
        return tuple(words)


class PushUnderWay(Answer, frozen=True):
    """A running push: its step, and the fraction of it that is done."""

    model: str
    by: str
    began_at: Time
    took_s: float
    step: str
    words: str
    """The work of this step."""
    number: int
    """The number of the step, from 1."""
    of: int
    ratio: float
    received_bytes: int
    total_bytes: int
