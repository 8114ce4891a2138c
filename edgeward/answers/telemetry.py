"""Telemetry: what devices measured of a model over time."""

from datetime import UTC, datetime

from edgeward.answers.answer import Answer


class TelemetryRow(Answer, frozen=True):
    """What one release did in one stretch of time."""

    start: float
    """Seconds since 1970; `at` is the same as a datetime."""
    span_s: float
    release: int
    of: str
    """The device or the kind of devices; empty: the fleet."""
    devices: int
    inferences: int
    errors: int
    labelled: int
    accuracy: float | None
    mean_absolute_error: float | None
    latency_us_p50: float | None
    latency_us_p95: float | None
    compared: int
    agreed: int

    @property
    def at(self) -> datetime:
        """When the stretch of time began."""
        return datetime.fromtimestamp(self.start, UTC)

    def table_rows(self) -> list[dict[str, object]]:
        """One row, with the time as a time."""
        (row,) = super().table_rows()
        return [{"at": self.at} | {name: value for name, value in row.items() if name != "start"}]
