"""Answers about pins: a model that people hold on a device at one release."""

from datetime import UTC, datetime

from edgeward.answers.answer import Answer, Time


class Pin(Answer, frozen=True):
    """The release at which people hold a model on a device."""

    release: int
    by: str
    at: Time
    reason: str = ""
    until: float = 0.0
    """Seconds since 1970 at which it ends; 0: it lasts until a person ends it."""

    @property
    def ends(self) -> datetime | None:
        """When it ends, in UTC; None: when a person ends it."""
        return datetime.fromtimestamp(self.until, UTC) if self.until else None


class PinAnswer(Answer, frozen=True):
    """The result for one device: where a model is held, or why nothing was done."""

    device: str
    release: int = 0
    """The release of the pin; of an ended pin, the one that it had."""
    runs: int = 0
    """The release that the device has confirmed; 0: none."""
    is_moved: bool = False
    """Whether the device got an order to change to the release of the pin."""
    rollout: str = ""
    """The open rollout that brings it another release, now that its pin has ended; empty for none."""
    rollout_release: int = 0
    """The release of that rollout."""
    code: str = ""
    """Why nothing was done; empty if it was done."""
    detail: str = ""
