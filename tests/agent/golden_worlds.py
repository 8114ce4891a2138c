"""Golden probes for models that tests assemble."""

from collections.abc import Generator
from typing import Any

from agent.models.golden_probes import GoldenProbes, ProbeSchedule
from agent.serving.lineup import Lineup


def golden_probes(lineup: Lineup, runtime: Any, schedule: ProbeSchedule | None = None, perf_s: Any = float) -> Any:
    """Probes of a lineup's sessions; no time passes while they answer unless `perf_s` says so."""
    return GoldenProbes(
        runtime, schedule or ProbeSchedule(), read=lineup.golden, perf_s=perf_s, date_s=lambda: 1_800_000_000.0
    )


def answers_wrongly(*_: Any) -> Generator[None, None, int]:
    """A runtime's answer to a golden set of one row, which it misses."""
    yield
    return 1
