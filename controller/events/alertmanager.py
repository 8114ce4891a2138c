"""Alerts in the form that a Prometheus Alertmanager receives and answers.

Decides the fields. Source: https://github.com/prometheus/alertmanager/blob/v0.27.0/api/v2/openapi.yaml.
"""

import re
from collections.abc import Iterable, Mapping

from contract.wire import Message
from controller.alerts.alert import Alert
from controller.alerts.muting import Muted
from controller.alerts.routing import Due
from controller.alerts.shown import annotations_of
from controller.clock import stamp_of

ENDS_AFTER_REPEATS = 4.0
"""An alert that was not repeated to an Alertmanager for so many repeats ends by itself, as in Prometheus."""
MAX_IN_A_POST = 500
"""Alerts in one request: about 500 kB."""
PATH = "/api/v2/alerts"


class PostableAlert(Message, frozen=True, rename="camel"):
    """An alert as it is sent."""

    labels: dict[str, str]
    annotations: dict[str, str]
    starts_at: str
    ends_at: str


class AlertStatus(Message, frozen=True, rename="camel"):
    """Whether people are notified of an alert."""

    state: str
    """active or suppressed."""
    silenced_by: tuple[str, ...]
    inhibited_by: tuple[str, ...]


class ReceiverName(Message, frozen=True):
    """A receiver to which an alert is sent."""

    name: str


class GettableAlert(PostableAlert, frozen=True, rename="camel"):
    """An alert in an answer."""

    fingerprint: str
    receivers: tuple[ReceiverName, ...]
    status: AlertStatus
    updated_at: str


def posts_of(due: Due, now: float, repeat_s: float) -> Iterable[list[PostableAlert]]:
    """Returns the bodies of the requests that send a message."""
    alerts = [_postable(each, now + ENDS_AFTER_REPEATS * repeat_s) for each in (*due.firing, *due.resolved)]
    for first in range(0, len(alerts), MAX_IN_A_POST):
        yield alerts[first : first + MAX_IN_A_POST]


def gettable(alert: Alert, why: Muted, receivers: Iterable[str], ends_at: float) -> GettableAlert:
    """Returns an alert that fires, in the form of an Alertmanager."""
    sent = _postable(alert, ends_at)
    return GettableAlert(
        labels=sent.labels,
        annotations=sent.annotations,
        starts_at=sent.starts_at,
        ends_at=sent.ends_at,
        fingerprint=alert.fingerprint,
        receivers=tuple(ReceiverName(name=name) for name in receivers),
        status=AlertStatus(
            state="suppressed" if why.silenced_by or why.inhibited_by else "active",
            silenced_by=why.silenced_by,
            inhibited_by=why.inhibited_by,
        ),
        updated_at=stamp_of(alert.seen_at),
    )


def _postable(alert: Alert, ends_at: float) -> PostableAlert:
    return PostableAlert(
        labels=prometheus_labels(alert.labels),
        annotations=annotations_of(alert),
        starts_at=stamp_of(alert.starts_at or alert.since),
        ends_at=stamp_of(ends_at if alert.ends_at is None else alert.ends_at),
    )


def prometheus_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Returns labels with names that Prometheus accepts, without empty ones."""
    return {re.sub(r"^(?=\d)|[^a-zA-Z0-9_]", "_", name): text for name, text in labels.items() if text}
