"""The time that requests take, by model and version, for Triton's statistics extension and for `/metrics`.

Decides how a request's time is split. Refuses to know inferences and health: `observed` counts those.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

MAX_VERSIONS = 64
"""The most versions with statistics; after that the oldest is dropped."""


@dataclass(slots=True)
class VersionStatistics:
    """Sums since the agent started, with the time of the newest request in ms since 1970 (`last_ms`)."""

    requests: int = 0
    failures: int = 0
    rows: int = 0
    success_ns: int = 0
    fail_ns: int = 0
    input_ns: int = 0
    infer_ns: int = 0
    output_ns: int = 0
    last_ms: int = 0


class Stopwatch:
    """The time of one request, in three parts."""

    __slots__ = ("_now_ns", "began", "infer_until", "input_until")

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self._now_ns = now_ns
        self.began = self.input_until = self.infer_until = now_ns()

    def read(self) -> None:
        """Notes the time at which the inputs are arrays."""
        self.input_until = self.infer_until = self._now_ns()

    def ran(self) -> None:
        """Notes the time at which the session has answered."""
        self.infer_until = self._now_ns()

    def end(self) -> int:
        """Returns the time at which the response is ready, in nanoseconds."""
        return self._now_ns()


class Statistics:
    """All models. `now_ns` is a monotonic clock, `wall_s` the date in seconds; `lock` guards the sums."""

    def __init__(self, now_ns: Callable[[], int], wall_s: Callable[[], float], lock: Any) -> None:
        self._now_ns = now_ns
        self._wall_s = wall_s
        self._lock = lock
        self.versions: dict[tuple[str, str], VersionStatistics] = {}

    def begin(self) -> Stopwatch:
        """Starts a stopwatch for a request."""
        return Stopwatch(self._now_ns)

    def succeeded(self, model: str, version: str, clock: Stopwatch, rows: int) -> None:
        """Counts an answered request."""
        end = clock.end()
        with self._lock:
            sums = self._of(model, version)
            sums.requests += 1
            sums.rows += rows
            sums.success_ns += end - clock.began
            sums.input_ns += clock.input_until - clock.began
            sums.infer_ns += clock.infer_until - clock.input_until
            sums.output_ns += end - clock.infer_until
            sums.last_ms = int(self._wall_s() * 1000)

    def failed(self, model: str, version: str, clock: Stopwatch) -> None:
        """Counts a request that failed."""
        end = clock.end()
        with self._lock:
            sums = self._of(model, version)
            sums.failures += 1
            sums.fail_ns += end - clock.began

    def told(self, model: str | None = None, version: str | None = None) -> list[dict[str, Any]]:
        """Returns the list of the statistics extension, for one model or for all."""
        return [
            _told(name, release, sums)
            for (name, release), sums in sorted(self.versions.items())
            if model in (None, name) and version in (None, release)
        ]

    def _of(self, model: str, version: str) -> VersionStatistics:
        key = (model, version)
        if key not in self.versions:
            if len(self.versions) >= MAX_VERSIONS:
                del self.versions[next(iter(self.versions))]
            self.versions[key] = VersionStatistics()
        return self.versions[key]


def _told(name: str, version: str, sums: VersionStatistics) -> dict[str, Any]:
    def part(count: int, ns: int) -> dict[str, int]:
        return {"count": count, "ns": ns}

    return {
        "name": name,
        "version": version,
        "last_inference": sums.last_ms,
        "inference_count": sums.rows,
        "execution_count": sums.requests,
        "inference_stats": {
            "success": part(sums.requests, sums.success_ns),
            "fail": part(sums.failures, sums.fail_ns),
            "queue": part(sums.requests, 0),
            "compute_input": part(sums.requests, sums.input_ns),
            "compute_infer": part(sums.requests, sums.infer_ns),
            "compute_output": part(sums.requests, sums.output_ns),
            "cache_hit": part(0, 0),
            "cache_miss": part(0, 0),
        },
        "batch_stats": [],
    }
