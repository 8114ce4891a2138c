"""Decides which receiver gets which alerts, and when: alerts in groups, with a wait, an interval and a repeat for each
receiver.

Decides when a message is due and what is in it. Keeps no state: past deliveries are handed in, so that a controller
continues after a restart. Refuses to know how messages are sent. Source:
https://prometheus.io/docs/alerting/latest/configuration/#route.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from contract.wire import encode
from controller.alerts.alert import Alert
from controller.alerts.muting import has_labels
from controller.alerts.rule import Receiver

MAX_IN_A_MESSAGE = 100
"""Alerts that a message names; further ones are counted. A mail with 1,000 of them is not read."""


class Delivered(msgspec.Struct, frozen=True):
    """The last message to a receiver about one group."""

    at: float
    firing: tuple[str, ...] = ()
    """Fingerprints of the alerts that fired."""


class Due(msgspec.Struct, frozen=True):
    """A message that is due. It shows a receiver MAX_IN_A_MESSAGE of its alerts."""

    receiver: str
    group: str
    """The name of the receiver and the group: the key of the delivery."""
    group_labels: dict[str, str]
    firing: tuple[Alert, ...]
    resolved: tuple[Alert, ...]
    at: float
    """When it was due, in seconds since 1970: each attempt sends the same time."""

    @property
    def delivered(self) -> tuple[str, ...]:
        """Returns the fingerprints of the alerts that fire."""
        return tuple(sorted(alert.fingerprint for alert in self.firing))


@dataclass
class Group:
    """Alerts of one group of one receiver."""

    labels: dict[str, str]
    firing: list[Alert] = field(default_factory=list)
    resolved: list[Alert] = field(default_factory=list)
    """Alerts that ended after the receiver was notified of them."""


def due_messages(
    receivers: Sequence[Receiver],
    told: Iterable[Alert],
    resolved: Mapping[str, Alert],
    delivered: Mapping[str, Delivered],
    now: float,
) -> list[Due]:
    """Returns the messages that are due. `told` are alerts that fire and are not muted; `resolved` newer ends, by
    fingerprint.

    An alert that is muted after a message about it is not repeated; its end is still sent.
    """
    firing, found = list(told), []
    for receiver in receivers:
        for key, group in sorted(_groups(receiver, firing, resolved, delivered).items()):
            if _is_due(receiver, group, delivered.get(key), now):
                shown = sorted(group.firing, key=lambda alert: (alert.starts_at or now, alert.fingerprint))
                found.append(Due(receiver.name, key, group.labels, tuple(shown), tuple(group.resolved), now))
    return found


def _groups(
    receiver: Receiver, firing: list[Alert], resolved: Mapping[str, Alert], delivered: Mapping[str, Delivered]
) -> dict[str, Group]:
    groups: dict[str, Group] = {}
    for alert in firing:
        if has_labels(alert.labels, receiver.match):
            labels = {name: alert.labels.get(name, "") for name in receiver.group_by}
            groups.setdefault(group_key(receiver.name, labels), Group(labels)).firing.append(alert)
    for key, before in delivered.items():
        over = [resolved[each] for each in before.firing if each in resolved] if receiver.send_resolved else []
        if over and (known := _labels_of(key, receiver.name)) is not None:
            groups.setdefault(key, Group(known)).resolved.extend(over)
    return groups


def _is_due(receiver: Receiver, group: Group, before: Delivered | None, now: float) -> bool:
    known = set(before.firing) if before is not None else set()
    if before is None or not known:
        return now - min(alert.starts_at or now for alert in group.firing) >= receiver.group_wait_s
    is_news = bool(group.resolved) or any(alert.fingerprint not in known for alert in group.firing)
    waits_s = receiver.group_interval_s if is_news else receiver.repeat_s
    return not group.firing or now - before.at >= waits_s  # the end of all alerts is sent at once


def group_key(receiver: str, labels: Mapping[str, str]) -> str:
    """Returns the name of one group of one receiver."""
    return encode([receiver, dict(sorted(labels.items()))]).decode()


def _labels_of(key: str, receiver: str) -> dict[str, str] | None:
    name, labels = msgspec.json.decode(key, type=tuple[str, dict[str, str]])
    return labels if name == receiver else None
