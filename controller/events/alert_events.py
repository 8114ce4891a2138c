"""A group of alerts as a CloudEvent, for one receiver.

Decides the fields of the data. Refuses to know how events are sent.
"""

import hashlib

from contract.wire import Message, encode
from controller.alerts.routing import MAX_IN_A_MESSAGE, Due
from controller.alerts.shown import AlertView, alert_view, title_of
from controller.clock import stamp_of

ALERTS_TYPE = "dev.edgeward.alerts"
SOURCE = "/edgeward/controller"


class AlertsData(Message, frozen=True, tag_field="kind", tag="alerts"):
    """The message to a receiver about one group of alerts."""

    title: str
    receiver: str
    group_labels: dict[str, str]
    firing: tuple[AlertView, ...]
    resolved: tuple[AlertView, ...]
    left_out: int
    """The number of further alerts, which are not named here."""


class GroupEvent(Message, frozen=True):
    """A CloudEvent 1.0 about a group of alerts."""

    specversion: str
    id: str
    source: str
    type: str
    subject: str
    time: str
    datacontenttype: str
    data: AlertsData


def group_event(due: Due) -> bytes:
    """Returns the event of a due message, as JSON. Its id depends on its content, and each attempt sends the same
    bytes.
    """
    firing = tuple(alert_view(each) for each in due.firing[:MAX_IN_A_MESSAGE])
    resolved = tuple(alert_view(each) for each in due.resolved[: MAX_IN_A_MESSAGE - len(firing)])
    data = AlertsData(
        title=title_of(due.group_labels, len(due.firing), len(due.resolved)),
        receiver=due.receiver,
        group_labels=due.group_labels,
        firing=firing,
        resolved=resolved,
        left_out=len(due.firing) + len(due.resolved) - len(firing) - len(resolved),
    )
    kind = "firing" if due.firing else "resolved"
    return encode(
        GroupEvent(
            specversion="1.0",
            id=hashlib.sha256(encode(data)).hexdigest()[:32],
            source=SOURCE,
            type=f"{ALERTS_TYPE}.{kind}",
            subject=due.receiver,
            time=stamp_of(due.at),
            datacontenttype="application/json",
            data=data,
        )
    )
