"""The life of a reading as an alert: pending, firing, resolved.

Decides when a reading is an alert, and when an alert is over. Refuses to know who is notified. Terms and states are
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
"""The most alerts of a rule at a time; further ones are counted. If more devices have one fault, that is one event
and not a list.
"""
MAX_FAULT_CHARS = 300
"""The most characters in the words of a failed rule."""


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One alert: a finding of a rule, since it was first found."""

    fingerprint: str
    """The name of these labels, in 16 hexadecimal digits."""
    labels: dict[str, str]
    """The labels, including `alertname` and `severity`."""
    state: str
    """pending, firing or resolved."""
    summary: str
    reading: Reading
    """The newest reading."""
    test: str
    since: float
    """When the rule found it first, in seconds since 1970."""
    seen_at: float
    """When the rule found it last."""
    starts_at: float | None = None
    """When it fired; None while it is pending."""
    ends_at: float | None = None
    """When it ended; None before."""
    for_s: float = 0.0

    @property
    def name(self) -> str:
        """The name of its rule."""
        return self.labels["alertname"]


@dataclass
class RuleStatus:
    """The result of a rule at the newest look."""

    found: int = 0
    left_out: int = 0
    """The number of readings beyond MAX_ALERTS_OF_A_RULE."""
    fault: str = ""
    """Why the rule could not be judged: a fault of the controller, in words."""
    idle: str = ""
    """Why the rule cannot trip on this fleet, with the arithmetic; empty if it can trip."""


@dataclass
class Look:
    """The result of one look at the fleet."""

    active: dict[str, Alert] = field(default_factory=dict)
    """Alerts that are pending or firing, by fingerprint."""
    changed: list[Alert] = field(default_factory=list)
    """Alerts whose state has changed, in their new state."""
    gone: list[str] = field(default_factory=list)
    """Fingerprints of pending alerts that ended without having fired."""
    status: dict[str, RuleStatus] = field(default_factory=dict)


def look(rules: Iterable[Rule], facts: Facts, before: Mapping[str, Alert], idle: Mapping[str, str]) -> Look:
    """Judges every rule by itself: if a rule fails, its alerts stay as they were and the other rules are still judged.

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
    """Whether a controller that has just started cannot yet know that an alert is over, because no device has reported
    yet.

    Otherwise each start would announce that devices are back, and minutes later that they are missing. An estimate from
    a model's data is known once these data have been examined.
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
    """Names a set of labels, in any order."""
    return hashlib.sha256(encode(sorted(labels.items()))).hexdigest()[:16]
