"""Telemetry: measurements of a model on devices over time, and reports of a device about itself."""

from datetime import UTC, datetime

from edgeward.answers.answer import Answer


class TelemetryRow(Answer, frozen=True):
    """The counts of one release in one interval of time."""

    start: float
    """Seconds since 1970; `at` is the same as a datetime."""
    span_s: float
    release: int
    of: str
    """The device or the stratum; empty: the fleet."""
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
        """When the interval began."""
        return datetime.fromtimestamp(self.start, UTC)

    def table_rows(self) -> list[dict[str, object]]:
        """One row, with the time as a time."""
        (row,) = super().table_rows()
        return [{"at": self.at} | {name: value for name, value in row.items() if name != "start"}]


class Spread(Answer, frozen=True):
    """One figure in one interval of time."""

    mean: float
    low: float
    high: float


class Vitals(Answer, frozen=True):
    """What a device reported about itself in one interval of time; None for what it did not measure."""

    start: float
    """Seconds since 1970; `at` is the same as a datetime."""
    span_s: float
    messages: int
    cpu_ratio: Spread | None
    rss_mb: Spread | None
    temperature_c: Spread | None
    inferences_s: Spread | None
    failure_ratio: Spread | None
    latency_ms: Spread | None

    @property
    def at(self) -> datetime:
        """When the interval began."""
        return datetime.fromtimestamp(self.start, UTC)

    def table_rows(self) -> list[dict[str, object]]:
        """One row, with a column for each end of each figure."""
        row: dict[str, object] = {"at": self.at, "span_s": self.span_s, "messages": self.messages}
        for name in VITALS:
            spread: Spread | None = getattr(self, name)
            for end in ("mean", "low", "high"):
                row[f"{name}_{end}"] = None if spread is None else getattr(spread, end)
        return [row]


VITALS = ("cpu_ratio", "rss_mb", "temperature_c", "inferences_s", "failure_ratio", "latency_ms")
"""The figures of a device's vitals."""
