"""The retraining policy of a model, as people write it in TOML: triggers, limits, costs, and the champion gate.

Decides which settings there are, and their defaults (configs/retraining/default.toml shows all of them). Refuses to
know how anything is measured.
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
    """The triggers that propose a retraining. A proposal decides nothing. 0 disables a trigger."""

    every_s: NotNegative = 30 * DAY_S
    """Seconds since the champion or the newest attempt was made."""
    new_labels: Annotated[int, msgspec.Meta(ge=0)] = 10_000
    """Labels that devices have reported since then."""
    decay: bool = True
    """Whether labelled quality that fell by more than `quality.tolerated` proposes."""
    alerts: bool = True
    """Whether alerts about the model propose."""


class Quality(Message, frozen=True):
    """How labelled quality is measured."""

    block_s: Annotated[float, msgspec.Meta(ge=60)] = 7 * DAY_S
    """Seconds of one block: long enough that neighbouring blocks differ. Telemetry is kept by the minute."""
    reference_blocks: Annotated[int, msgspec.Meta(ge=1, le=100)] = 4
    """The first blocks in which the champion served. Its held-out score counts in their place if it is better."""
    recent_blocks: Annotated[int, msgspec.Meta(ge=1, le=100)] = 4
    """The newest blocks."""
    min_labels: Annotated[int, msgspec.Meta(ge=2)] = 100
    """The fewest labels in the newest blocks together: with fewer nothing is judged."""
    confidence: Annotated[float, msgspec.Meta(gt=0.5, lt=1)] = 0.95
    """The confidence of the two-sided interval of a drop. The check is repeated each day: with 0.9, holidays in the
    third year of a traffic model were a reason to train it."""
    tolerated: Ratio = 0.03
    """A drop within this is usual over the seasons, and no reason to retrain: accuracy, or the error as a fraction."""


class Limits(Message, frozen=True):
    """Limits against too many proposals."""

    cool_down_s: NotNegative = 3 * DAY_S
    """Seconds after an attempt has ended, doubled for each further failed one."""
    budget: Annotated[int, msgspec.Meta(ge=0)] = 6
    """Trainings allowed within `budget_s`."""
    budget_s: Positive = 90 * DAY_S
    budget_mb: NotNegative = 10_000.0
    """Megabytes that retrained versions may send to devices within `budget_s`."""
    run_s: Positive = 3600.0
    """The longest time of a pipeline in seconds: after it the pipeline counts as hanging."""
    silent_s: Positive = 120.0
    """Seconds without a report after which a worker counts as dead."""


class Costs(Message, frozen=True):
    """The costs of a retraining, all in one unit: right answers."""

    per_training_s: NotNegative = 1.0
    """The cost of a second of training."""
    per_mb: NotNegative = 1.0
    """The cost of a megabyte that is sent to a device."""
    per_rollout: NotNegative = 100.0
    """The cost of a rollout: the risk of a change, and the time of people."""
    horizon_s: Positive = 60 * DAY_S
    """Seconds within which the gain must exceed the costs."""


class RetrainingPolicy(Message, frozen=True):
    """When a model is trained again, and the requirements for its candidate."""

    approval: bool = False
    """Whether a person approves each training."""
    pipeline: str = ""
    """The pipeline that the worker runs, for workers that know several; empty: its only one."""
    start: Literal["cold", "warm"] = "cold"
    """warm: the worker hands the champion's fitted estimator to the pipeline, where it has kept it. The gates are the
    same."""
    look_s: Positive = 3600.0
    """Seconds between two checks of the facts."""
    recoverable: Ratio = 0.5
    """The part of a drop that retraining is expected to recover before any attempt has shown it."""
    triggers: Triggers = Triggers()
    quality: Quality = Quality()
    limits: Limits = Limits()
    costs: Costs = Costs()
    champion: ChampionRule = ChampionRule()


def span(seconds: float) -> str:
    """Returns a duration in a suitable unit."""
    return f"{seconds / DAY_S:.3g} days" if seconds >= DAY_S else f"{seconds:.0f} s"
