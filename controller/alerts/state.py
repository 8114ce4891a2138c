"""The state of alerts that a controller keeps between two evaluations.

Decides which alerts are sent. Refuses to know when rules are judged, and who is notified.
"""

from dataclasses import dataclass, field

from controller.alerts.alert import Alert, RuleStatus
from controller.alerts.muting import Muted
from controller.alerts.records import AlertRecords
from controller.alerts.rule import AlertFile

QUALITY = frozenset({"estimated_quality"})
"""Measures of a model's quality: an alert from one of them proposes to train the model again."""


@dataclass
class AlertState:
    """The rules, the durable records, and the result of the newest evaluation."""

    file: AlertFile
    text: str
    """The file as it was read: errors name its lines. Empty for the default rules."""
    source: str
    """The path of the file; empty for the default rules."""
    records: AlertRecords
    status: dict[str, RuleStatus] = field(default_factory=dict)
    """The state of each rule by its name."""
    muted: dict[str, Muted] = field(default_factory=dict)
    """The reason why an alert is not sent, by fingerprint."""
    next_look: float = 0.0
    """When rules are judged next, in monotonic seconds."""
    looked_at: float | None = None
    """When rules were last judged, in seconds since 1970."""
    look_s: float = 0.0
    """How long the newest evaluation took."""
    rule_faults: int = 0
    """How often a rule has failed since the start."""

    def told(self) -> list[Alert]:
        """Returns the firing alerts that people are notified of: neither silenced nor explained by
        another alert.
        """
        return [
            each
            for each in self.records.active.values()
            if each.state == "firing" and each.fingerprint not in self.muted
        ]

    def measure_of(self, alert: Alert) -> str:
        """Returns the measure of an alert's rule; empty if the file no longer has such a rule."""
        return next((rule.measure for rule in self.file.rule if rule.name == alert.name), "")
