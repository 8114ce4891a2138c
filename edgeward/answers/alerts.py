"""Answers about alerts: alerts, silences, rules, receivers."""

from edgeward.answers.answer import Answer, Plain, Time


class Alert(Answer, frozen=True):
    """One alert. `state` is pending, firing, silenced, inhibited or resolved."""

    fingerprint: str
    name: str
    state: str
    severity: str
    labels: dict[str, str]
    annotations: dict[str, str]
    """Sentences: `summary`, `description`, `test`, `effect`, `clears`, `look`."""
    since: Time
    """When its rule first found it."""
    starts_at: Time | None
    """When it fired; None while it is pending."""
    ends_at: Time | None
    """When it ended; None before."""
    value: float
    low: float | None
    """The lower end of the interval of an estimate; None for a value that is counted or read."""
    high: float | None
    limit: float
    unit: str
    n: int
    """The number of `of` from which the value was computed."""
    of: str
    for_s: float
    silenced_by: tuple[str, ...]
    inhibited_by: tuple[str, ...]

    @property
    def about(self) -> str:
        """Its labels without its own name and severity."""
        first = ("device", "model", "release", "rollout", "code", "what", "sensor", "sink")
        named = [self.labels[name] for name in first if self.labels.get(name)]
        return " ".join(named) or "the fleet"

    def table_rows(self) -> list[dict[str, object]]:
        """One row with what a list shows."""
        row = {"fingerprint": self.fingerprint, "state": self.state, "severity": self.severity, "name": self.name}
        return [{**row, "about": self.about, "since": self.since, "summary": self.annotations["summary"]}]


class AlertDetail(Alert, frozen=True, kw_only=True):
    """One alert, and its earlier times."""

    past: tuple[Alert, ...]


class AlertPage(Answer, frozen=True):
    """A page of alerts, newest first."""

    total: int
    items: tuple[Alert, ...]
    counts: dict[str, int]
    """By state, those that pass every filter but that of the state."""


class Matcher(Answer, frozen=True):
    """A condition on one label; `*` in the value stands for any text."""

    name: str
    value: str
    equal: bool = True

    def __str__(self) -> str:
        return f"{self.name}{'=' if self.equal else '!='}{self.value}"


class Silence(Answer, frozen=True):
    """A person's statement that some alerts are known. `state` is pending, active or expired."""

    id: str
    state: str
    matchers: tuple[Matcher, ...]
    starts_at: Time
    ends_at: Time
    created_by: str
    reason: str
    alerts: int
    """The number of firing alerts that it silences now."""


class AlertRule(Answer, frozen=True):
    """A rule, and its result at the newest look."""

    rule: Plain
    """The rule as it is in the file."""
    alerts: dict[str, int]
    """The number of its alerts by state."""
    left_out: int
    fault: str
    idle: str
    """Why it cannot trip on this fleet; empty if it can."""

    @property
    def name(self) -> str:
        """The label `alertname` of its alerts."""
        return str(self.rule["name"])


class AlertRules(Answer, frozen=True):
    """All rules, and the newest look at them."""

    source: str
    """The file; empty for the rules that ship."""
    looked_at: Time | None
    look_s: float
    rules: tuple[AlertRule, ...]


class RuleTest(Answer, frozen=True):
    """The effect that a file of alert rules would have on this fleet now."""

    rules: int
    receivers: int
    alerts: tuple[Alert, ...]


class AlertReceiver(Answer, frozen=True):
    """A receiver, and its counts since the controller started."""

    name: str
    kind: str
    sent: int
    refused: int
    """Messages that were finally refused, and are not tried again."""
    given_up: int
    dropped: int
    retries: int
    sent_at: Time | None
    error: str
    """Why the newest message was not accepted; empty once one is."""
