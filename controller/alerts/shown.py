"""The form of an alert for people and programs: in the API, in events, in messages.

Decides the names and the sentences. Refuses to know HTTP, mail and terminals.
"""

from contract.wire import Message
from controller.alerts.alert import Alert
from controller.alerts.facts import Reading
from controller.alerts.muting import NOTHING, Muted
from controller.clock import stamp_of


class AlertView(Message, frozen=True):
    """One alert. Times are in ISO 8601."""

    fingerprint: str
    name: str
    state: str
    """pending, firing, silenced, inhibited or resolved."""
    severity: str
    labels: dict[str, str]
    annotations: dict[str, str]
    """Sentences: `summary`, `description`, `test`, `effect`, `clears`, `look`."""
    since: str
    """When its rule first found it."""
    starts_at: str | None
    """When it fired; null while it is pending."""
    ends_at: str | None
    """When it ended; null before."""
    value: float
    low: float | None
    """The lower end of the interval of an estimate; null for a value that is counted or read."""
    high: float | None
    limit: float
    unit: str
    n: int
    """The number of `of` from which the value was computed."""
    of: str
    for_s: float
    """Seconds for which it is pending before it fires."""
    silenced_by: tuple[str, ...]
    inhibited_by: tuple[str, ...]


def alert_view(alert: Alert, why: Muted = NOTHING) -> AlertView:
    """Returns an alert, with the reasons why nobody is notified of it, if there are any."""
    reading = alert.reading
    return AlertView(
        fingerprint=alert.fingerprint,
        name=alert.name,
        state=why.word(alert.state),
        severity=alert.labels["severity"],
        labels=dict(sorted(alert.labels.items())),
        annotations=annotations_of(alert),
        since=stamp_of(alert.since),
        starts_at=None if alert.starts_at is None else stamp_of(alert.starts_at),
        ends_at=None if alert.ends_at is None else stamp_of(alert.ends_at),
        value=reading.value,
        low=reading.low,
        high=reading.high,
        limit=reading.limit,
        unit=reading.unit,
        n=reading.n,
        of=reading.of,
        for_s=alert.for_s,
        silenced_by=why.silenced_by if alert.state == "firing" else (),
        inhibited_by=why.inhibited_by if alert.state == "firing" else (),
    )


def annotations_of(alert: Alert) -> dict[str, str]:
    """Returns the sentences about an alert, by name."""
    reading = alert.reading
    return {
        "summary": alert.summary,
        "description": reading.detail,
        "test": f"{alert.test}; n = {reading.n} {reading.of}",
        "effect": effect_words(reading),
        "clears": f"It ends when {reading.clears}.",
        "look": reading.look,
    }


def effect_words(reading: Reading) -> str:
    """Returns the value with its interval, if it has one, and the limit."""
    interval = "" if reading.low is None or reading.high is None else f" [{reading.low:.3g}, {reading.high:.3g}]"
    limit = f", limit {reading.limit:.4g}" if reading.limit or reading.unit in ("days", "ratio", "s") else ""
    return f"{reading.value:.4g}{interval} {reading.unit}{limit}"


def title_of(group_labels: dict[str, str], firing: int, resolved: int) -> str:
    """Returns one line for a message: how many alerts fire, how many have ended, and the group."""
    counts = [f"FIRING:{firing}"] if firing else []
    counts += [f"RESOLVED:{resolved}"] if resolved else []
    named = " ".join(" ".join(text.split()) for text in group_labels.values() if text)
    return f"[{' '.join(counts)}] {named or 'Edgeward'}"[:200]
