"""The result of a push, and pushes that are under way."""

from edgeward.answers.answer import Answer, Time
from edgeward.answers.models import VersionDetail


class Pushed(VersionDetail, frozen=True):
    """The result of a push: a version."""

    new: bool = True
    """False: these bytes were a version already, and no new one was made."""
    tags_added: dict[str, str] = {}
    """Tags that the existing version got by this push."""
    tags_replaced: dict[str, str] = {}
    """Their earlier values, of those that had one."""
    mended: bool = False
    """Whether files of the existing version were missing or damaged, and are there again."""
    not_taken: tuple[str, ...] = ()
    """Facts of this push that the existing version does not take: it keeps those of its first push."""

    def __str__(self) -> str:
        return super().__str__() if self.new else "; ".join(self.sentences)

    @property
    def sentences(self) -> tuple[str, ...]:
        """What a push of existing bytes has changed, and what it has not."""
        named = f"{self.model} v{self.release}"
        words = [f"same bytes as {named}: no version was made"]
        if self.mended:
            words.append(f"files of {named} were missing or damaged and are there again")
        if self.tags_added:
            tags = ", ".join(map(self._tag, self.tags_added))
            words.append(f"{named} has got the tags {tags}")
        if self.not_taken:
            words.append(f"{named} keeps its first {', '.join(self.not_taken)}")
        return tuple(words)

    def _tag(self, key: str) -> str:
        before = f" in place of {self.tags_replaced[key]}" if key in self.tags_replaced else ""
        return f"{key}={self.tags_added[key]}{before}"


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
