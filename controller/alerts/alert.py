"""What becomes of readings: pending, firing, resolved.

Decides when a reading is an alert, and when an alert is over. Refuses to know who is told. Words and states are
Alertmanager's. Source: https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules/.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec
from msgspec.structs import replace

from contract.wire import encode
from controller.alerts.facts import Facts, Reading
from controller.alerts.measures import MEASURES
from controller.alerts.rule import Rule

MAX_ALERTS_OF_A_RULE = 1_000
"""Of one rule at a time; what lies beyond is counted. More devices with one fault are one event, not a list."""
MAX_FAULT_CHARS = 300
"""Of the words of a rule that failed."""


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One alert: something that a rule has found, from the first look at which it was so."""

    fingerprint: str
    """Names these labels, in 16 hexadecimal digits."""
    labels: dict[str, str]
    """With `alertname` and `severity`."""
    state: str
    """pending, firing or resolved."""
    summary: str
    reading: Reading
    """The newest one."""
    test: str
    since: float
    """When the rule found it first, in seconds since 1970."""
    seen_at: float
    """When the rule found it last."""
    starts_at: float | None = None
    """When it fired; None while it is pending."""
    ends_at: float | None = None
    """When it was over; None before."""
    for_s: float = 0.0

    @property
    def name(self) -> str:
        """The name of its rule."""
        return self.labels["alertname"]


@dataclass
class RuleStatus:
    """How a rule fared at the newest look."""

    found: int = 0
    left_out: int = 0
    """What it found beyond MAX_ALERTS_OF_A_RULE."""
    fault: str = ""
    """Why it could not be judged: a fault of ours, in words."""
    idle: str = ""
    """Why it cannot trip on this fleet, with the arithmetic; empty if it can."""


@dataclass
class Look:
    """What one look at the fleet has come to."""

    active: dict[str, Alert] = field(default_factory=dict)
    """Alerts that are pending or firing, by fingerprint."""
    changed: list[Alert] = field(default_factory=list)
    """Alerts in another state than before, in the state of now."""
    gone: list[str] = field(default_factory=list)
    """Fingerprints of alerts that were pending and are over without having fired."""
    status: dict[str, RuleStatus] = field(default_factory=dict)


def look(rules: Iterable[Rule], facts: Facts, before: Mapping[str, Alert], idle: Mapping[str, str]) -> Look:
    """Judges every rule by itself: the alerts of a rule that fails stay as they were, and the others go on.

    `idle` names rules that cannot trip on this fleet, with the reason: they are not judged, and their alerts end.
    """
    result, kept = Look(), set[str]()
    for rule in rules:
        status = result.status[rule.name] = RuleStatus(idle=idle.get(rule.name, ""))
        if status.idle:
            continue
        try:
            _judge(rule, facts, before, result, status)
        except Exception as error:  # one rule's fault must not stop the others
            status.fault = f"{type(error).__name__}: {error}"[:MAX_FAULT_CHARS]
            kept.add(rule.name)
    keep_s = {rule.name: rule.keep_s for rule in rules}
    for fingerprint, alert in before.items():
        if fingerprint not in result.active:
            if alert.name in kept or _is_unknown_yet(alert, facts):
                result.active[fingerprint] = alert
            else:
                _end(alert, facts.now, keep_s.get(alert.name, 0.0), result)
    return result


def _is_unknown_yet(alert: Alert, facts: Facts) -> bool:
    """Whether a controller that has just started cannot tell yet that an alert is over: it has heard nobody so far.

    Otherwise each start would say that devices are back, and minutes later that they are gone; an estimate from a
    model's data is known once these have been looked at.
    """
    if alert.seen_at >= facts.started_at:
        return False
    if "device" in alert.labels:
        twin = facts.twins.get(alert.labels["device"])
        if twin is None or twin.seen_at is not None:
            return False
    elif alert.reading.of != "devices":
        return alert.reading.low is not None and alert.labels.get("model") not in facts.watched
    waits_s = alert.reading.limit if alert.reading.unit == "s" else 0.0
    return facts.now - facts.started_at <= facts.silent_s + waits_s


def _judge(rule: Rule, facts: Facts, before: Mapping[str, Alert], result: Look, status: RuleStatus) -> None:
    found: dict[str, tuple[dict[str, str], Reading]] = {}
    for reading in MEASURES[rule.measure].read(rule, facts):
        status.found += 1
        if len(found) >= MAX_ALERTS_OF_A_RULE:
            status.left_out += 1
            continue
        labels = {**reading.labels, **rule.labels, "alertname": rule.name, "severity": rule.severity}
        found[fingerprint_of(labels)] = (labels, reading)
    for fingerprint, (labels, reading) in found.items():
        known = before.get(fingerprint)
        alert = _seen(known, rule, labels, reading, fingerprint=fingerprint, now=facts.now)
        result.active[fingerprint] = alert
        if known is None or known.state != alert.state:
            result.changed.append(alert)


def _seen(
    known: Alert | None, rule: Rule, labels: dict[str, str], reading: Reading, *, fingerprint: str, now: float
) -> Alert:
    since, starts_at = (now, None) if known is None else (known.since, known.starts_at)
    fires = starts_at is not None or now - since >= rule.for_s
    return Alert(
        fingerprint=fingerprint,
        labels=labels,
        state="firing" if fires else "pending",
        summary=rule.summary or reading.detail,
        reading=reading,
        test=MEASURES[rule.measure].test,
        since=since,
        seen_at=now,
        starts_at=(starts_at or now) if fires else None,
        for_s=rule.for_s,
    )


def _end(alert: Alert, now: float, keep_s: float, result: Look) -> None:
    if alert.state == "pending":
        result.gone.append(alert.fingerprint)
    elif now - alert.seen_at < keep_s:
        result.active[alert.fingerprint] = alert
    else:
        result.changed.append(replace(alert, state="resolved", ends_at=now))


def fingerprint_of(labels: Mapping[str, str]) -> str:
    """Names a set of labels, whatever their order."""
    return hashlib.sha256(encode(sorted(labels.items()))).hexdigest()[:16]
