"""The data of one frame of the live view, from a few calls to the controller.

Decides which figures there are. Refuses to know how they are drawn.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from edgeward.answers.alerts import Alert
from edgeward.answers.fleet import Fleet
from edgeward.answers.telemetry import TelemetryRow
from edgeward.client import Client

RATE_MINUTES = 3
"""Inferences per second are over this minute and the two before it: devices report every half minute."""
MAX_MODELS = 20
"""The most models whose rate is requested, one call each; the others are shown without one."""


@dataclass(frozen=True)
class Rate:
    """The recent figures of a version."""

    per_s: float
    failed: float | None
    """The fraction of inferences that failed; None without any."""


@dataclass(frozen=True)
class Seen:
    """One frame's facts."""

    at: datetime
    url: str
    fleet: Fleet
    rates: dict[tuple[str, int], Rate] = field(default_factory=dict)
    """The rates by model and release."""
    alerts: tuple[Alert, ...] = ()
    error: str = ""
    """Why the newest request failed; all other data are then from the one before."""


def look(client: Client, url: str, now: datetime) -> Seen:
    """Requests the data from the controller."""
    fleet = client.fleet()
    models = list(dict.fromkeys(each.model for each in fleet.serving if each.release))[:MAX_MODELS]
    since = now - timedelta(minutes=RATE_MINUTES - 1, seconds=now.second)
    rates = {}
    for model in models:
        rows = client.telemetry(model, every="minute", since=since.timestamp(), until=now.timestamp() + 1)
        rates.update({(model, release): rate for release, rate in rates_of(rows, now).items()})
    return Seen(now.astimezone(UTC), url, fleet, rates, tuple(client.alerts()))


def rates_of(rows: Iterable[TelemetryRow], now: datetime) -> dict[int, Rate]:
    """Returns by release its figures from the first of these minutes until now."""
    rows = list(rows)
    if not rows:
        return {}
    span_s = max(1.0, now.timestamp() - min(row.start for row in rows))
    found = {}
    for release in sorted({row.release for row in rows}):
        inferences = sum(row.inferences for row in rows if row.release == release)
        errors = sum(row.errors for row in rows if row.release == release)
        found[release] = Rate(inferences / span_s, errors / inferences if inferences else None)
    return found
