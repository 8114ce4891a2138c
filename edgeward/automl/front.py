"""The Pareto front of measured trials, and which of them are within the limits.

Decides only by numbers: a higher score, and fewer bytes, less latency and memory are better. Refuses to know how
they were measured.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edgeward.automl.trial import Trial


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a device; None: no limit."""

    max_bytes: int | None = 1_000_000
    """Size of the ONNX form, in bytes."""
    max_latency_us_p50: float | None = 50.0
    """The median of one row on one thread."""
    max_memory_mb: float | None = None
    """The memory that loading it takes."""

    def excess(self, trial: Trial) -> dict[str, float]:
        """Returns how far a trial exceeds each limit, as a fraction of it, by the limit's name; at most zero if it does
        not.
        """
        measured = (
            ("bytes", trial.size_bytes, self.max_bytes),
            ("latency", trial.latency_us_p50, self.max_latency_us_p50),
            ("memory", trial.load_mb, self.max_memory_mb),
        )
        return {name: value / limit - 1 for name, value, limit in measured if limit is not None}

    def beyond(self, trial: Trial) -> tuple[str, ...]:
        """The limits that a trial exceeds, by name; none if it fits."""
        return tuple(name for name, excess in self.excess(trial).items() if excess > 0)


def pareto_front(trials: Iterable[Trial]) -> list[Trial]:
    """Returns measured trials that no other beats in one measure without being worse in another, best score first.

    Of trials with equal measures the first one stays.
    """
    measured = [each for each in trials if each.state == "measured"]
    kept = [each for each in measured if not any(_dominates(other, each) for other in measured)]
    return sorted(kept, key=lambda each: (-each.score, each.size_bytes, each.number))


def best_within(front: Sequence[Trial], limits: Limits) -> Trial | None:
    """Returns the best score within all limits; the smaller one of equals. None if nothing fits."""
    return next((each for each in front if not limits.beyond(each)), None)


def _dominates(one: Trial, other: Trial) -> bool:
    mine, others = _costs(one), _costs(other)
    if mine == others:
        return one.number < other.number
    return all(a <= b for a, b in zip(mine, others, strict=True))


def _costs(trial: Trial) -> tuple[float, ...]:
    return (-trial.score, trial.size_bytes, trial.latency_us_p50, trial.load_mb)
