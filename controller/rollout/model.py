"""What a rollout is: its strategy, its waves, its status. Everything here is durable."""

from typing import Annotated, Literal

import msgspec

from contract.desired import TrialPolicy
from contract.wire import Message

Status = Literal["proposed", "running", "paused", "completed", "rolling_back", "rolled_back"]
OnFail = Literal["pause", "roll_back"]
Metric = Literal["failed_ratio", "accuracy_drop", "error_ratio", "latency_ratio_p95"]
Percent = Annotated[int, msgspec.Meta(ge=1, le=100)]

FINAL: frozenset[Status] = frozenset({"completed", "rolled_back"})


class Rule(Message, frozen=True):
    """An analysis rule: trips when `metric` exceeds `threshold`."""

    metric: Metric
    threshold: Annotated[float, msgspec.Meta(ge=0)]
    min_samples: Annotated[int, msgspec.Meta(ge=1)] = 1
    """Devices for `failed_ratio`, inferences for the others; below it the verdict is inconclusive."""
    on_missing: Literal["wait", "skip"] = "wait"
    """No data at all: wait for it, or go by the other rules. Missing data is never a pass."""
    on_fail: OnFail = "roll_back"


class Wave(Message, frozen=True):
    """One step: so many percent of the fleet have the release when it is done."""

    percent: Percent
    soak_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    """How long every device of the wave must have been confirmed before the next wave."""


class Strategy(Message, frozen=True):
    """How a release reaches a fleet."""

    name: str
    waves: Annotated[tuple[Wave, ...], msgspec.Meta(min_length=1, max_length=50)]
    rules: tuple[Rule, ...] = ()
    deadline_s: Annotated[float, msgspec.Meta(gt=0)] = 86_400.0
    """A device of a wave that has not decided by then counts as failed, as `silent`; offline ones count neither way."""
    trial: TrialPolicy = TrialPolicy()
    """What the devices themselves go by."""


class Member(Message, frozen=True):
    """A device in a rollout."""

    device: str
    wave: int
    previous_release: int = 0
    """The last confirmed release: where a roll back goes. 0 for none."""


class Rollout(Message, frozen=True):
    """One campaign: a release, its plan, and where it stands."""

    id: str
    model: str
    release: int
    digest: str
    strategy: Strategy
    members: tuple[Member, ...]
    status: Status = "running"
    wave: int = 0
    wave_began_at: float = 0.0
    wave_done_at: float | None = None
    """When every device of the wave had decided."""
    reason: str = ""
    acknowledged: tuple[str, ...] = ()
    """Devices whose failure an operator has resumed over; only new failures trip a rule again."""
    created_by: str = ""
    created_at: str = ""

    def devices_up_to(self, wave: int) -> list[str]:
        """Devices of the waves up to and including `wave`."""
        return [member.device for member in self.members if member.wave <= wave]

    @property
    def last_wave(self) -> int:
        """Index of the last wave that has members."""
        return max((member.wave for member in self.members), default=0)
