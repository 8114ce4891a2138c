"""Answers about a rollout besides its state: its history, texts of people, comparisons."""

from edgeward.answers.answer import Answer, Time
from edgeward.answers.written import Written


class RolloutEvent(Answer, frozen=True):
    """One thing that has happened to a rollout."""

    at: Time
    kind: str
    """proposed, running, wave, paused, ended, failed, verdict, written or other."""
    action: str
    by: str
    device: str
    """Empty: the event is about the rollout."""
    text: str


class Review(Answer, frozen=True):
    """A person who was asked to look."""

    who: str
    by: str
    at: Time
    text: str = ""
    done_at: str = ""
    """When they looked; empty before that."""


class Discussion(Answer, frozen=True):
    """The texts of people about a rollout or a model."""

    note: Written | None = None
    ticket: str = ""
    comments: tuple[Written, ...] = ()
    reviews: tuple[Review, ...] = ()


class ComparedRow(Answer, frozen=True):
    """One fact about both rollouts."""

    what: str
    left: str
    right: str


class FailedInOne(Answer, frozen=True):
    """A device that failed in at least one of two rollouts."""

    device: str
    left: str
    """Its code there; empty: it was no member."""
    right: str


class RolloutComparison(Answer, frozen=True):
    """The comparison of two rollouts."""

    left: str
    right: str
    rows: tuple[ComparedRow, ...]
    devices: tuple[FailedInOne, ...]
    devices_more: int
