"""What can happen to a model's machine, in the past tense. Each carries the digest or generation that it is about."""

import msgspec

from agent.core.model import Assignment, Baseline, Verdict


class DesiredChanged(msgspec.Struct, frozen=True):
    """A verified document asks for `assignment`."""

    assignment: Assignment


class DesiredRefused(msgspec.Struct, frozen=True):
    """A verified document asks for `assignment`, and this device's own configuration forbids it."""

    assignment: Assignment
    code: str
    detail: str


class DesiredWithdrawn(msgspec.Struct, frozen=True):
    """A verified document says that the model shall no longer run."""

    generation: int


class DirectorChanged(msgspec.Struct, frozen=True):
    """Another key than before says what runs here. What the former one has numbered counts no longer."""


class FetchDone(msgspec.Struct, frozen=True):
    """All blobs of the artifact `digest` are sealed on disk."""

    digest: str


class FetchFailed(msgspec.Struct, frozen=True):
    """The fetch of `digest` ended without it."""

    digest: str
    code: str
    detail: str
    retryable: bool
    spread: float = 0.0
    """The device's own number from 0 to 1: devices that failed together do not try again together."""


class ModelReady(msgspec.Struct, frozen=True):
    """The probe of `digest` passed."""

    digest: str


class ActivationAllowed(msgspec.Struct, frozen=True):
    """Nothing keeps `digest` from being tried."""

    digest: str
    baseline: Baseline | None = None
    """How often stable was right until now: the yardstick for what follows it."""


class ActivationHeld(msgspec.Struct, frozen=True):
    """These are not maintenance hours, or an application on the device holds updates."""

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
    """How often the version was right in the judged inferences: the yardstick for its successor once it is stable."""


class TimerFired(msgspec.Struct, frozen=True):
    """The time that `deadline(state)` returned has come, or a later one."""


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
