"""What can happen to a model's machine, in the past tense. Each carries the digest or generation that it is about."""

from dataclasses import dataclass

from agent.core.model import Assignment, Baseline, Verdict


@dataclass(frozen=True, slots=True)
class DesiredChanged:
    """A verified document asks for `assignment`."""

    assignment: Assignment


@dataclass(frozen=True, slots=True)
class DesiredWithdrawn:
    """A verified document with this version no longer names the model."""

    generation: int


@dataclass(frozen=True, slots=True)
class FetchDone:
    """All blobs of the artifact `digest` are sealed on disk."""

    digest: str


@dataclass(frozen=True, slots=True)
class FetchFailed:
    """The fetch of `digest` ended without it."""

    digest: str
    code: str
    detail: str
    retryable: bool


@dataclass(frozen=True, slots=True)
class ModelReady:
    """The probe of `digest` passed."""

    digest: str
    baseline: Baseline | None = None


@dataclass(frozen=True, slots=True)
class ModelBroken:
    """The probe or the load of `digest` failed."""

    digest: str
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class HealthJudged:
    """The health window of `digest` was judged."""

    digest: str
    verdict: Verdict
    code: str = ""
    detail: str = ""
    measured: Baseline | None = None
    """How often the version was right in the window: the yardstick for its successor once it is stable."""


@dataclass(frozen=True, slots=True)
class TimerFired:
    """The time that `deadline(state)` named has come, or more."""


Event = (
    DesiredChanged | DesiredWithdrawn | FetchDone | FetchFailed | ModelReady | ModelBroken | HealthJudged | TimerFired
)
