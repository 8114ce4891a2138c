"""What a controller keeps of its alerts between two looks. Decides nothing."""

from dataclasses import dataclass, field

from controller.alerts.alert import RuleStatus
from controller.alerts.muting import Muted
from controller.alerts.records import AlertRecords
from controller.alerts.rule import AlertFile


@dataclass
class AlertState:
    """The rules, what is durable, and how the newest look went."""

    file: AlertFile
    text: str
    """The file as it was read: errors name its lines. Empty for the rules that ship."""
    source: str
    """The path of the file; empty for the rules that ship."""
    records: AlertRecords
    status: dict[str, RuleStatus] = field(default_factory=dict)
    """By rule."""
    muted: dict[str, Muted] = field(default_factory=dict)
    """By fingerprint, why an alert is not told."""
    next_look: float = 0.0
    """Monotonic seconds."""
    looked_at: float | None = None
    """When rules were judged last, in seconds since 1970."""
    look_s: float = 0.0
    """How long that took."""
    rule_faults: int = 0
    """How often a rule failed, since the start."""
