"""Rules, inhibitions and receivers of alerts: the file that an operator writes, as values.

Decides the keys and their ranges. Refuses to know what a measure reads: `measures` does. Terms are Alertmanager's.
"""

from typing import Annotated, Literal, get_args

import msgspec

from contract.wire import Message

Severity = Literal["critical", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
"""Worst first."""
MeasureName = Literal[
    "offline_ratio",
    "unheard_s",
    "device_fault",
    "clock_off_s",
    "expiry_days",
    "sensor_failing",
    "sensor_row_age_s",
    "sink_failing",
    "rollout_stopped",
    "version_rolled_back",
    "rolled_back_ratio",
    "controller_finding",
    "contract_breach_ratio",
    "estimated_quality",
    "vitals_departure",
]
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}\Z")]
LabelName = Annotated[str, msgspec.Meta(pattern=r"^[a-zA-Z_][a-zA-Z0-9_.-]{0,63}\Z")]
LabelText = Annotated[str, msgspec.Meta(max_length=256)]
Labels = Annotated[dict[LabelName, LabelText], msgspec.Meta(max_length=32)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=30 * 86_400)]
Positive = Annotated[float, msgspec.Meta(gt=0, le=30 * 86_400)]
Url = Annotated[str, msgspec.Meta(pattern=r"^https?://\S+\Z", max_length=2048)]
MAX_RULES = 200
"""The most rules of one file: each rule is judged on the whole fleet every few seconds."""
MAX_RECEIVERS = 20
"""The most receivers of one file: each has a task and its own queue."""


class Rule(Message, frozen=True):
    """One rule: what is measured, and the limit beyond which it is an alert."""

    name: Name
    """The label `alertname` of its alerts."""
    measure: MeasureName
    above: float | None = None
    """The rule trips if the measure, or the lower end of its interval, lies above this."""
    below: float | None = None
    """The rule trips if the measure, or the upper end of its interval, lies below this."""
    for_s: Seconds = 0.0
    """Seconds for which an alert is pending before it fires."""
    keep_s: Seconds = 0.0
    """Seconds for which an alert still fires after its reason has ended, so that an intermittent one is sent once."""
    severity: Severity = "warning"
    by: Annotated[str, msgspec.Meta(max_length=64)] = ""
    """A label of devices: a ratio is computed for each of its values. Empty: for the whole fleet."""
    selector: Labels = {}
    """Labels of the devices that the rule covers. Empty: all."""
    codes: Annotated[tuple[str, ...], msgspec.Meta(max_length=64)] = ()
    """Codes of faults or findings that the rule covers. Empty: all."""
    model: Annotated[str, msgspec.Meta(max_length=128)] = ""
    """The model that the rule covers. Empty: all."""
    min_devices: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1
    """A ratio of fewer devices is no alert."""
    labels: Labels = {}
    """Further labels of its alerts, for receivers and silences."""
    summary: Annotated[str, msgspec.Meta(max_length=200)] = ""
    """The first sentence that people read. Empty: made from the measure."""


class Inhibition(Message, frozen=True):
    """While an alert with the labels `source` fires, alerts with the labels `target` are inhibited."""

    source: Annotated[Labels, msgspec.Meta(min_length=1)]
    target: Annotated[Labels, msgspec.Meta(min_length=1)]
    equal: Annotated[tuple[LabelName, ...], msgspec.Meta(max_length=16)] = ()
    """Labels that both must have with the same value."""


class Routing(Message, frozen=True):
    """What a receiver gets, and when: the keys that all kinds of receivers share."""

    name: Name
    match: Labels = {}
    """Labels that an alert must have; a value may hold `*`."""
    group_by: Annotated[tuple[LabelName, ...], msgspec.Meta(max_length=16)] = ("alertname",)
    """Alerts with equal values of these labels are sent in one message."""
    group_wait_s: Seconds = 10.0
    """Seconds for which the first message of a group waits for further alerts."""
    group_interval_s: Positive = 300.0
    """Seconds between two messages of a group whose alerts have changed."""
    repeat_s: Positive = 14_400.0
    """Seconds after which an unchanged group that still fires is sent again."""
    send_resolved: bool = True


class WebhookReceiver(Routing, frozen=True, kw_only=True, tag_field="kind", tag="webhook"):
    """Alerts as a CloudEvent by POST."""

    url: Url
    secret_file: str = ""
    """A file with a secret of Standard Webhooks (`whsec_...`), by which every message is signed."""


class MailReceiver(Routing, frozen=True, kw_only=True, tag_field="kind", tag="mail"):
    """Alerts by e-mail over SMTP."""

    host: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    sender: Annotated[str, msgspec.Meta(pattern=r"^[^\s@<>,]+@[^\s@<>,]+\Z", max_length=254)]
    to: Annotated[
        tuple[Annotated[str, msgspec.Meta(pattern=r"^[^\s@<>,]+@[^\s@<>,]+\Z", max_length=254)], ...],
        msgspec.Meta(min_length=1, max_length=50),
    ]
    port: Annotated[int, msgspec.Meta(ge=1, le=65_535)] = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    """none: only for a server on this machine."""
    user: str = ""
    password_file: str = ""


class AlertmanagerReceiver(Routing, frozen=True, kw_only=True, tag_field="kind", tag="alertmanager"):
    """Alerts to a Prometheus Alertmanager. It expects firing alerts to be repeated, so `repeat_s` is short."""

    url: Url
    """Its address, without /api/v2/alerts."""
    group_by: Annotated[tuple[LabelName, ...], msgspec.Meta(max_length=16)] = ()
    group_wait_s: Seconds = 0.0
    group_interval_s: Positive = 15.0
    repeat_s: Positive = 60.0


Receiver = WebhookReceiver | MailReceiver | AlertmanagerReceiver


class AlertFile(Message, frozen=True):
    """A whole file of alert rules."""

    rule: Annotated[tuple[Rule, ...], msgspec.Meta(max_length=MAX_RULES)] = ()
    inhibit: Annotated[tuple[Inhibition, ...], msgspec.Meta(max_length=MAX_RULES)] = ()
    receiver: Annotated[tuple[Receiver, ...], msgspec.Meta(max_length=MAX_RECEIVERS)] = ()
