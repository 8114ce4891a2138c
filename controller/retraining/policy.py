"""The retraining policy of a model, as people write it in TOML: triggers, limits, costs, and the champion gate.

Decides which knobs there are, and their defaults (configs/retraining/default.toml shows all of them). Refuses to know
how anything is measured.
"""

from typing import Annotated, Literal

import msgspec

from contract.wire import Message
from controller.gates.evidence import ChampionRule

DAY_S = 86_400.0
Positive = Annotated[float, msgspec.Meta(gt=0)]
NotNegative = Annotated[float, msgspec.Meta(ge=0)]
Ratio = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Triggers(Message, frozen=True):
    """What proposes a retraining. A proposal decides nothing. 0 turns a trigger off."""

    every_s: NotNegative = 30 * DAY_S
    """So long after the champion, or the newest attempt, came."""
    new_labels: Annotated[int, msgspec.Meta(ge=0)] = 10_000
    """Labels that devices have reported since then."""
    decay: bool = True
    """Whether labelled quality that fell by more than `quality.tolerated` proposes."""
    alerts: bool = True
    """Whether alerts about the model propose."""


class Quality(Message, frozen=True):
    """How labelled quality is measured."""

    block_s: Annotated[float, msgspec.Meta(ge=60)] = 7 * DAY_S
    """Length of one block: long enough that neighbours differ. Telemetry is kept by the minute."""
    reference_blocks: Annotated[int, msgspec.Meta(ge=1, le=100)] = 4
    """The first blocks in which the champion served. Its held-out score counts in their place where it is better."""
    recent_blocks: Annotated[int, msgspec.Meta(ge=1, le=100)] = 4
    """The newest blocks."""
    min_labels: Annotated[int, msgspec.Meta(ge=2)] = 100
    """In the newest blocks together: with fewer nothing is judged."""
    confidence: Annotated[float, msgspec.Meta(gt=0.5, lt=1)] = 0.9
    """Of the two-sided interval of a drop."""
    tolerated: Ratio = 0.03
    """A drop within this is what seasons do, and no reason to retrain: accuracy, or the error as a fraction."""


class Limits(Message, frozen=True):
    """What stops a storm of proposals."""

    cool_down_s: NotNegative = 3 * DAY_S
    """After an attempt has ended. Twice as long after each further one that brought nothing."""
    budget: Annotated[int, msgspec.Meta(ge=0)] = 6
    """Trainings within `budget_s`."""
    budget_s: Positive = 90 * DAY_S
    budget_mb: NotNegative = 10_000.0
    """Sent to devices by retrained versions within `budget_s`."""
    run_s: Positive = 3600.0
    """The longest time for a pipeline: then it counts as hanging."""
    silent_s: Positive = 120.0
    """A worker that says nothing for so long has died."""


class Costs(Message, frozen=True):
    """What a retraining costs, all in one unit: answers that could have been right."""

    per_training_s: NotNegative = 1.0
    """A second of training."""
    per_mb: NotNegative = 1.0
    """A megabyte that is sent to a device."""
    per_rollout: NotNegative = 100.0
    """The risk of a change, and the attention of people."""
    horizon_s: Positive = 60 * DAY_S
    """The time in which the gain must pay."""


class RetrainingPolicy(Message, frozen=True):
    """When a model is trained again, and what its candidate must show."""

    approval: bool = False
    """Whether a person approves each training."""
    pipeline: str = ""
    """The pipeline that the worker runs, for workers that know several; empty: its only one."""
    start: Literal["cold", "warm"] = "cold"
    """warm: the worker hands the champion's fitted estimator to the pipeline, where it has kept it. The gates are the
    same."""
    look_s: Positive = 3600.0
    """Between two looks at the facts."""
    recoverable: Ratio = 0.5
    """The part of a drop that retraining is expected to win back before any has shown it."""
    triggers: Triggers = Triggers()
    quality: Quality = Quality()
    limits: Limits = Limits()
    costs: Costs = Costs()
    champion: ChampionRule = ChampionRule()


def span(seconds: float) -> str:
    """A span in the unit that fits."""
    return f"{seconds / DAY_S:.3g} days" if seconds >= DAY_S else f"{seconds:.0f} s"
