"""The records of retraining: proposals, decisions with their numbers, and each attempt from start to end.

Decides the words. Refuses to know where records are kept.
"""

from typing import Annotated, Literal

import msgspec

from contract.protocol import MAX_DETAIL_CHARS
from contract.wire import Message
from controller.gates.estimate import Estimate

Trigger = Literal["time", "labels", "decay", "alert", "person"]
Word = Literal["train", "ask", "wait", "no"]
"""Train; ask a person; not now (cool-down, budget, another attempt); too little gain, or no proof of a gain."""
Reason = Literal[
    "person_asks", "gain_shown", "won_before", "gain_not_shown", "not_worth_it", "too_few_labels", "under_way",
    "cool_down", "budget_spent",
]  # fmt: skip
Status = Literal["proposed", "approved", "running", "passed", "stopped", "failed", "declined"]
"""Waits for a person; waits for a worker; a worker trains; the candidate passed its gates; a gate stopped it; the
pipeline failed; a person refused."""
OPEN: frozenset[Status] = frozenset({"proposed", "approved", "running"})
FRUITLESS: frozenset[Status] = frozenset({"stopped", "failed"})


class Proposal(Message, frozen=True):
    """The source of a proposal to retrain, and its reason."""

    trigger: Trigger
    detail: str


class Weighed(Message, frozen=True):
    """The numbers of a decision. Gain and costs are counted in right answers."""

    decay: Estimate
    """The drop of labelled quality, as a fraction."""
    recoverable: float
    """The part of the drop that retraining is expected to recover, judged by earlier attempts."""
    gain: Estimate
    labels: int
    """The labels on which the drop was measured."""
    worth: float
    cost_of_training: float
    cost_of_bytes: float
    cost_of_rollout: float

    @property
    def cost(self) -> float:
        """The sum of all costs."""
        return self.cost_of_training + self.cost_of_bytes + self.cost_of_rollout


class Decision(Message, frozen=True):
    """What the policy has decided about proposals, and why."""

    at: float
    """Seconds since 1970."""
    model: str
    champion: int
    word: Word
    reason: Reason
    proposals: tuple[Proposal, ...]
    detail: str
    weighed: Weighed | None = None
    classifies: bool = True
    """Whether hundredths of the numbers are right answers; otherwise they are fractions of the champion's error."""
    times: int = 1
    """How often in a row the same was decided for the same reason; `at` is the newest time."""
    retraining: str = ""
    """The attempt that followed."""


class Retraining(Message, frozen=True):
    """One attempt: a training and the result of its candidate. Times are seconds since 1970."""

    id: str
    model: str
    champion: int
    """The release that served when it was decided: the candidate must beat it."""
    status: Status
    decision: Decision
    created_at: float
    approved_by: str = ""
    worker: str = ""
    step: str = ""
    """The newest reported step of the pipeline."""
    began_at: float = 0.0
    heard_at: float = 0.0
    """When the worker last sent a report."""
    ended_at: float = 0.0
    training_s: float = 0.0
    start: str = ""
    """How its training began, as the worker reports: `warm from v3: partial_fit, epochs: 5`, or `cold` and why.
    Empty: not reported.
    """
    release: int = 0
    """The candidate's; 0 while there is none."""
    candidate_bytes: int = 0
    detail: str = ""
    """How it ended, in words."""
    gain: Estimate | None = None
    """The gain over the champion, as its gate has measured it."""
    log: str = ""
    """The end of the pipeline's output, if it failed."""


class Retrained(Message, frozen=True):
    """The attempt whose candidate a worker pushes, and the worker's report about its training."""

    id: str
    training_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    start: Annotated[str, msgspec.Meta(max_length=MAX_DETAIL_CHARS)] = ""
    """How the training began, in words: warm from which version, or cold and why."""
