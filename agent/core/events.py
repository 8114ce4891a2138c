"""The events of a model's update machine, in the past tense. Each names its digest or generation."""

import msgspec

from agent.core.model import Assignment, Baseline, Verdict


class DesiredChanged(msgspec.Struct, frozen=True):
    """A verified document asks for `assignment`."""

    assignment: Assignment


class DesiredRefused(msgspec.Struct, frozen=True):
    """A verified document asks for `assignment`, but this device's own configuration forbids it."""

    assignment: Assignment
    code: str
    detail: str


class DesiredWithdrawn(msgspec.Struct, frozen=True):
    """A verified document says that the model must no longer run."""

    generation: int


class DirectorChanged(msgspec.Struct, frozen=True):
    """Another key than before now decides which versions run here. Generations of the former key no longer count."""


class FetchDone(msgspec.Struct, frozen=True):
    """All blobs of the artifact `digest` are sealed on disk."""

    digest: str


class FetchFailed(msgspec.Struct, frozen=True):
    """The fetch of `digest` has failed."""

    digest: str
    code: str
    detail: str
    retryable: bool
    spread: float = 0.0
    """This device's own number in [0, 1), so that devices that failed together do not all retry together."""


class ModelReady(msgspec.Struct, frozen=True):
    """The probe of `digest` passed."""

    digest: str


class ActivationAllowed(msgspec.Struct, frozen=True):
    """The trial of `digest` may begin."""

    digest: str
    baseline: Baseline | None = None
    """The measurements of stable until now, with which the trial is compared."""


class ActivationHeld(msgspec.Struct, frozen=True):
    """The time is outside maintenance hours, or an application on the device holds updates."""

    digest: str
    wait_s: float
    code: str
    detail: str


class ModelBroken(msgspec.Struct, frozen=True):
    """The probe or the load of `digest` failed."""

    digest: str
    code: str
    detail: str


class HealthJudged(msgspec.Struct, frozen=True):
    """The newest inferences of `digest` were judged."""

    digest: str
    verdict: Verdict
    code: str = ""
    detail: str = ""
    measured: Baseline | None = None
    """The measurements of the version in the judged inferences; once it is stable, its successor is compared with
    them.
    """


class TimerFired(msgspec.Struct, frozen=True):
    """The time that `deadline(state)` returned has come or has passed."""


Event = (
    DesiredChanged
    | DesiredRefused
    | DesiredWithdrawn
    | DirectorChanged
    | FetchDone
    | FetchFailed
    | ModelReady
    | ActivationAllowed
    | ActivationHeld
    | ModelBroken
    | HealthJudged
    | TimerFired
)
