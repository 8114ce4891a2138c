"""The data of a rollout: its strategy, its waves, its status. Everything here is durable."""

import hashlib
from typing import Annotated, Literal

import msgspec

from contract.desired import TrialPolicy
from contract.messages import Short
from contract.wire import Message, encode
from controller.fleet.exclusion import Exclusion
from controller.fleet.fit import Form
from controller.rollout.schedule import ALWAYS, Schedule

Status = Literal["proposed", "running", "paused", "completed", "aborting", "aborted", "rolling_back", "rolled_back"]
OnFail = Literal["pause", "abort", "roll_back_wave", "roll_back_stratum", "roll_back"]
Metric = Literal[
    "failed_ratio",
    "rejected_ratio",
    "silent_ratio",
    "error_ratio",
    "accuracy_drop",
    "error_increase",
    "latency_ratio_p95",
    "agreement",
    "metric_increase",
    "metric_decrease",
    "class_share",
]
DEVICE_METRICS: frozenset[Metric] = frozenset({"failed_ratio", "rejected_ratio", "silent_ratio"})
NUMBER_METRICS: frozenset[Metric] = frozenset({"metric_increase", "metric_decrease"})
"""Metrics of numbers that applications measure, by name."""
NAMED_METRICS: frozenset[Metric] = NUMBER_METRICS | {"class_share"}
"""Metrics with a `name`: an application's number, or an answer of a classifier."""
Percent = Annotated[int, msgspec.Meta(ge=1, le=100)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]

RETURNING: frozenset[Status] = frozenset({"aborting", "rolling_back"})
JUDGED: frozenset[Status] = frozenset({"running", "paused"})
FINAL: frozenset[Status] = frozenset({"completed", "aborted", "rolled_back"})


def person(actor: str) -> str:
    """Returns the person behind an actor's name in the audit, also if a policy or the controller's own token acted."""
    return actor.removeprefix("policy of ").removeprefix("local:")


class Rule(Message, frozen=True):
    """An analysis rule: trips if `metric` is significantly above `threshold` (`agreement`: below it)."""

    metric: Metric
    threshold: Annotated[float, msgspec.Meta(ge=0)]
    name: Short = ""
    """For `metric_increase` and `metric_decrease` the name of the metric of applications; for `class_share` the
    class."""
    change: Literal["relative", "absolute"] = "relative"
    """How `metric_increase` and `metric_decrease` read `threshold`: as a fraction of the mean that devices without the
    release report, which must be above 0, or in the number's own unit."""
    scope: Literal["fleet", "stratum"] = "fleet"
    """Judges all devices together, or each stratum by itself, so that an average does not hide one bad chip family."""
    min_samples: Annotated[int, msgspec.Meta(ge=1)] = 1
    """Devices for the ratios of devices; requests, of one row or many, for errors and times; rows for labels and
    compared answers. With fewer the verdict is inconclusive."""
    judged_s: Seconds = 0.0
    """Judges what was measured in the newest so many seconds; 0: since the rollout began."""
    on_missing: Literal["wait", "skip"] = "wait"
    """Without data: wait for them, or decide by the other rules. Missing data is never a pass."""
    on_fail: OnFail = "roll_back"
    needs: Literal["no_harm_shown", "shown_harmless"] = "no_harm_shown"
    """no_harm_shown: passes with enough samples and no value beyond the limit. shown_harmless: passes once the whole
    interval lies on the allowed side."""

    @property
    def title(self) -> str:
        """The metric, with the name that tells two rules of it apart."""
        return f"{self.metric} {self.name}" if self.name else self.metric


class Wave(Message, frozen=True):
    """One step of a rollout, by the devices that have the release at its end.

    They are `percent` of each stratum or `count` of all devices (both with the waves before), or exactly `devices`, a
    `selector` of labels, or one wave for each stratum.
    """

    percent: Percent | None = None
    count: Annotated[int, msgspec.Meta(ge=1)] | None = None
    devices: tuple[str, ...] = ()
    selector: dict[str, str] = {}
    stratum: str = ""
    each_stratum: bool = False
    mode: Literal["serve", "shadow"] = "serve"
    """shadow: the release runs beside stable on these devices, is compared and judged, and answers nothing."""
    soak_s: Seconds = 0.0
    """Seconds for which every device of the wave must have been done before the next wave."""
    hold: bool = False
    """Whether the next wave waits for `edgeward rollout promote`."""


class Strategy(Message, frozen=True):
    """How a release reaches a fleet."""

    name: str
    waves: Annotated[tuple[Wave, ...], msgspec.Meta(min_length=1, max_length=50)]
    rules: tuple[Rule, ...] = ()
    strata: tuple[str, ...] = ("machine", "memory")
    """What distinguishes strata: `machine`, `memory`, `cpus`, `runtime`, or the name of a label."""
    start_s: Annotated[float, msgspec.Meta(gt=0)] = 86_400.0
    """Seconds after its offer at which a device that has not begun is `silent`; one that is offline is not counted.
    """
    deadline_s: Annotated[float, msgspec.Meta(gt=0)] = 86_400.0
    """Seconds after its offer at which a device that has begun and not decided counts as failed."""
    max_concurrent: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Devices that may update at a time; 0: all of a wave."""
    per_minute: Seconds = 0.0
    """Offers a minute when a wave begins; 0: all at once."""
    growth_per_minute: Annotated[float, msgspec.Meta(ge=1, le=10)] = 1.0
    """The rate is multiplied by this each minute of a wave."""
    jitter_s: Seconds = 0.0
    """Seconds over which offers of a wave are spread, each device by its own hash."""
    attempts: Annotated[int, msgspec.Meta(ge=1, le=10)] = 1
    """Offers to one device, if it fails for a reason that may pass (a bad link, a full disk)."""
    retry_s: Annotated[float, msgspec.Meta(gt=0)] = 60.0
    """Seconds until the second attempt; doubled for each later one."""
    preflight: bool = True
    """Before the second wave every online device must have shown that its stable version is complete on its disk."""
    trial: TrialPolicy = TrialPolicy()
    """The policy that devices apply to a trial."""


class Member(Message, frozen=True):
    """A device in a rollout."""

    device: str
    wave: int
    stratum: str = ""
    digest: str = ""
    """The digest of the form that was chosen for it; empty: the first form."""
    previous_release: int = 0
    """The last confirmed release, to which a roll back returns. 0 for none."""
    previous_digest: str = ""
    """The digest of the form that was confirmed."""
    lost_digest: str = ""
    """The digest of a confirmed version that the registry does not hold: the device cannot roll back to it. A roll
    back leaves the device as it is, because any version is better than none."""
    late: bool = False
    """Whether it joined after the plan was made."""


class Rollout(Message, frozen=True):
    """One campaign: a release, its plan, and its state."""

    id: str
    model: str
    release: int
    digest: str
    strategy: Strategy
    members: tuple[Member, ...]
    selector: dict[str, str] = {}
    """The devices of the rollout; those that match later join at the end."""
    excluded: dict[str, Exclusion] = {}
    """Devices that match and cannot run the release, with the reason."""
    forms: tuple[Form, ...] = ()
    """The requirements of each form of the release, by which devices that join late are fitted as well."""
    status: Status = "running"
    wave: int = 0
    began_at: float = 0.0
    wave_began_at: float = 0.0
    wave_done_at: float | None = None
    """When every device of the wave had decided."""
    returning_since: float | None = None
    """The time at which devices were ordered to roll back, while it rolls back or is aborted."""
    promoted: int = -1
    """The newest wave whose end an operator has declared."""
    reason: str = ""
    stopped_strata: tuple[str, ...] = ()
    """Strata that are rolled back by themselves, while the others continue."""
    stopped_waves: tuple[int, ...] = ()
    acknowledged: tuple[str, ...] = ()
    """Devices whose failure an operator has accepted by a resume; only new failures trip a rule again."""
    evidence_since: float = 0.0
    """Seconds since 1970; what was measured before is not judged again."""
    created_by: str = ""
    created_at: str = ""
    approved_by: str = ""
    schedule: Schedule = ALWAYS
    """The times at which offers may be made."""
    among: tuple[str, ...] = ()
    """Only these devices, if not empty: a retry on those that failed."""
    retry_of: str = ""
    """The rollout whose failed devices it retries."""
    proposers: tuple[str, ...] = ()
    """The people who proposed it: the person who started it or wrote its policy, and the person who pushed the
    version.
    """

    @property
    def people(self) -> tuple[str, ...]:
        """The names in `proposers` and `created_by`, each once, without the suffix for a policy."""
        return tuple(dict.fromkeys(name for each in (self.created_by, *self.proposers) if (name := person(each))))

    def digest_for(self, member: Member) -> str:
        """The digest of the form that a member gets."""
        return member.digest or self.digest

    def carries(self, digest: str) -> bool:
        """Whether an artifact is the release, in any form."""
        return digest == self.digest or any(form.digest == digest for form in self.forms)

    def devices_up_to(self, wave: int) -> list[str]:
        """Devices of the waves up to and including `wave`."""
        return [member.device for member in self.members if member.wave <= wave]

    def is_stopped(self, member: Member) -> bool:
        """Whether the member was taken out and is sent back."""
        return member.stratum in self.stopped_strata or member.wave in self.stopped_waves

    @property
    def last_wave(self) -> int:
        """Index of the last wave that has members."""
        return max((member.wave for member in self.members), default=0)

    @property
    def final_wave(self) -> int:
        """Index of the wave that ends the rollout: empty waves are left out, except for serving after a shadow."""
        serves = next(number for number, wave in enumerate(self.strategy.waves) if wave.mode == "serve")
        return max(self.last_wave, serves)

    @property
    def plan_digest(self) -> str:
        """The digest of the plan: approving it approves this release, by this strategy, to these devices
        in this order.
        """
        planned: tuple[object, ...] = (self.model, self.release, self.digest, self.strategy)
        planned = (*planned, [member for member in self.members if not member.late])
        if self.schedule != ALWAYS:
            planned = (*planned, self.schedule)
        return hashlib.sha256(encode(planned)).hexdigest()
