"""The content of a report: the fleet, its versions, rollouts, alerts and changes in a period.

Decides what belongs to the period. Refuses to know how it is shown.
"""

from dataclasses import dataclass
from datetime import datetime

from edgeward.answers.alerts import Alert
from edgeward.answers.fleet import Fleet
from edgeward.answers.operators import AuditEntry
from edgeward.answers.rollouts import RolloutSummary, VerdictPoint
from edgeward.answers.telemetry import TelemetryRow
from edgeward.client import Client

MAX_CHANGES = 2_000
"""Entries of the audit in a report; the audit itself has older ones."""
MAX_MODELS = 50
MAX_ROLLOUTS = 100


@dataclass(frozen=True)
class Report:
    """The content of a report."""

    since: datetime
    until: datetime
    url: str
    fleet: Fleet
    telemetry: dict[str, tuple[TelemetryRow, ...]]
    """Rows by day or by hour for each model."""
    rollouts: tuple[RolloutSummary, ...]
    """Begun in the period, or still open; newest first."""
    verdicts: dict[str, tuple[VerdictPoint, ...]]
    """The newest verdict of each rule and stratum, by rollout."""
    alerts: tuple[Alert, ...]
    changes: tuple[AuditEntry, ...]


def gather(client: Client, url: str, since: datetime, until: datetime) -> Report:
    """Asks the controller for everything in a report."""
    begins, ends = since.timestamp(), until.timestamp()
    every = "day" if ends - begins > 3 * 86_400 else "hour"
    models = [each.name for each in client.models()][:MAX_MODELS]
    rows = {model: tuple(client.telemetry(model, every=every, since=begins, until=ends)) for model in models}
    rollouts = tuple(each for each in client.rollouts() if each.open or since <= each.created_at < until)[:MAX_ROLLOUTS]
    return Report(
        since=since,
        until=until,
        url=url,
        fleet=client.fleet(),
        telemetry={model: found for model, found in rows.items() if found},
        rollouts=rollouts,
        verdicts={each.id: _newest(tuple(client.open_rollout(each.id).verdicts())) for each in rollouts},
        alerts=tuple(client.alerts("all", since=begins, until=ends)),
        changes=tuple(client.audit_entries(since=since, until=until, limit=MAX_CHANGES)),
    )


def _newest(points: tuple[VerdictPoint, ...]) -> tuple[VerdictPoint, ...]:
    found = {(point.metric, point.stratum): point for point in points}
    return tuple(found.values())
