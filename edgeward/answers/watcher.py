"""The watcher: devices that depart from what is usual, and the history on which it is trained."""

from datetime import UTC, datetime

from edgeward.answers.answer import Answer


class Departure(Answer, frozen=True):
    """One device beyond the threshold."""

    device: str
    at: float
    times: float
    """The score as a multiple of the threshold."""
    figure: str
    sort: str
    spreads: float
    past_h: int
    says: str

    @property
    def hour(self) -> datetime:
        """When the hour began."""
        return datetime.fromtimestamp(self.at, UTC)


class Watcher(Answer, frozen=True):
    """The findings of the watcher's newest looks at the fleet."""

    model: str
    release: int
    trained_at: str
    threshold: float | None
    alarms_per_device_month: float | None
    looked_at: float | None
    judged: int
    young: int
    fault: str
    departures: tuple[Departure, ...]


class DeviceHistory(Answer, frozen=True):
    """How far one device departed from what is usual for it, hour by hour."""

    device: str
    hours: tuple[float, ...]
    rows: tuple[tuple[float, ...], ...]


class WatcherHistory(Answer, frozen=True):
    """The rows on which a watcher is trained."""

    features: tuple[str, ...]
    devices: tuple[DeviceHistory, ...]
