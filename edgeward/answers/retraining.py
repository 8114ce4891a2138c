"""Retraining: policies' decisions with their numbers, and attempts."""

from datetime import UTC, datetime

from contract.hundredths import signed_interval
from edgeward.answers.answer import Answer, Plain


class Estimate(Answer, frozen=True):
    """A value with its interval, as a fraction."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """In hundredths, as the controller prints it."""
        return signed_interval(self.value, self.low, self.high)


class Proposal(Answer, frozen=True):
    """The source of a proposal to train (time, labels, decay, alert or person), and its reason."""

    trigger: str
    detail: str


class Weighed(Answer, frozen=True):
    """The numbers of a decision; gain and costs in right answers."""

    decay: Estimate
    recoverable: float
    gain: Estimate
    labels: int
    worth: float
    cost_of_training: float
    cost_of_bytes: float
    cost_of_rollout: float


class Decision(Answer, frozen=True):
    """The decision of a policy: train, ask, wait or no; and why."""

    at: float
    """Seconds since 1970; `when` is the same as a datetime."""
    model: str
    champion: int
    word: str
    reason: str
    proposals: tuple[Proposal, ...]
    detail: str
    weighed: Weighed | None = None
    classifies: bool = True
    """Whether drop and gain are fractions of right answers; otherwise of the champion's error."""
    times: int = 1
    """How often in a row the same was decided."""
    retraining: str = ""

    @property
    def when(self) -> datetime:
        """When it was decided, the newest of `times`."""
        return datetime.fromtimestamp(self.at, UTC)

    def table_rows(self) -> list[dict[str, object]]:
        """One row, without the numbers."""
        triggers = ", ".join(each.trigger for each in self.proposals)
        row = {"when": self.when, "model": self.model, "word": self.word, "reason": self.reason}
        return [row | {"proposed_by": triggers, "times": self.times, "detail": self.detail}]


class Retraining(Answer, frozen=True):
    """One attempt to train a model again."""

    id: str
    model: str
    champion: int
    """The release that the candidate must beat."""
    status: str
    """proposed, approved, running, passed, stopped, failed, declined."""
    decision: Decision
    created_at: float
    approved_by: str = ""
    worker: str = ""
    step: str = ""
    """The newest reported step of the pipeline: the one that failed, if any did."""
    began_at: float = 0.0
    heard_at: float = 0.0
    ended_at: float = 0.0
    training_s: float = 0.0
    start: str = ""
    """How the training began: warm from which version, or cold and why; empty if the worker does not say."""
    release: int = 0
    """The candidate's version; 0: there is none yet."""
    candidate_bytes: int = 0
    detail: str = ""
    gain: Estimate | None = None
    log: str = ""

    def table_rows(self) -> list[dict[str, object]]:
        """One row, without the decision."""
        row = {"id": self.id, "model": self.model, "status": self.status, "champion": self.champion}
        gain = None if self.gain is None else self.gain.value
        return [row | {"candidate": self.release or None, "gain": gain, "step": self.step, "detail": self.detail}]


class RetrainingPolicy(Answer, frozen=True):
    """When a model is trained again; configs/retraining/default.toml explains every field."""

    approval: bool
    pipeline: str
    look_s: float
    recoverable: float
    triggers: Plain
    quality: Plain
    limits: Plain
    costs: Plain
    champion: Plain
    start: str = "cold"
    """Or warm: from the champion's fitted estimator."""


class Claimed(Answer, frozen=True):
    """The attempt that a worker got."""

    retraining: Retraining | None
    policy: RetrainingPolicy | None
