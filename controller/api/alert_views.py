"""The answers about alerts. Times are in ISO 8601."""

from contract.wire import Message
from controller.alerts.muting import Matcher, Silence
from controller.alerts.rule import Rule
from controller.alerts.shown import AlertView
from controller.alerts.state import AlertState
from controller.clock import stamp_of
from controller.events.attempts import Fare


class AlertPage(Message, frozen=True):
    """A page of alerts, newest first."""

    total: int
    """The number of alerts on all pages."""
    items: tuple[AlertView, ...]
    counts: dict[str, int]
    """The number of alerts by state that pass every filter but that of the state."""


class AlertDetail(AlertView, frozen=True, kw_only=True):
    """One alert, and its earlier times."""

    past: tuple[AlertView, ...]
    """The times at which it ended, newest first."""


class SilenceView(Message, frozen=True):
    """A silence."""

    id: str
    state: str
    """pending, active or expired."""
    matchers: tuple[Matcher, ...]
    starts_at: str
    ends_at: str
    created_by: str
    reason: str
    alerts: int
    """The number of firing alerts that it silences now."""


class RuleView(Message, frozen=True):
    """A rule, and its result at the newest look."""

    rule: Rule
    alerts: dict[str, int]
    """The number of its alerts by state."""
    left_out: int
    """The number of readings beyond the limit of alerts of one rule."""
    fault: str
    """Why the rule could not be judged; empty if it was."""
    idle: str
    """Why the rule cannot trip on this fleet, with the arithmetic; empty if it can trip."""


class Rules(Message, frozen=True):
    """All rules, and the newest look at them."""

    source: str
    """The file; empty for the rules that ship."""
    looked_at: str | None
    look_s: float
    """How long the newest look took."""
    rules: tuple[RuleView, ...]


class RuleTest(Message, frozen=True):
    """The effect that a file of alert rules would have on this fleet now."""

    rules: int
    receivers: int
    alerts: tuple[AlertView, ...]
    """The alerts that would be pending or firing at once."""


class ReceiverView(Message, frozen=True):
    """A receiver, and its counts since the controller started."""

    name: str
    kind: str
    sent: int
    refused: int
    """Messages that were finally refused, and are not tried again."""
    given_up: int
    dropped: int
    retries: int
    sent_at: str | None
    error: str
    """Why the newest message was not accepted; empty once one is."""


def silence_view(silence: Silence, alerts: AlertState, now: float) -> SilenceView:
    """A silence with its effect."""
    return SilenceView(
        id=silence.id,
        state=silence.state(now),
        matchers=silence.matchers,
        starts_at=stamp_of(silence.starts_at),
        ends_at=stamp_of(silence.ends_at),
        created_by=silence.created_by,
        reason=silence.reason,
        alerts=sum(silence.id in why.silenced_by for why in alerts.muted.values()),
    )


def receiver_view(fare: Fare) -> ReceiverView:
    """Returns the state of a receiver."""
    return ReceiverView(
        name=fare.name,
        kind=fare.kind,
        sent=fare.sent,
        refused=fare.refused,
        given_up=fare.given_up,
        dropped=fare.dropped,
        retries=fare.retries,
        sent_at=None if fare.sent_at is None else stamp_of(fare.sent_at),
        error=fare.error,
    )
