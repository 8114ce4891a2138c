"""What a rollout is: its strategy, its waves, its status. Everything here is durable."""

import hashlib
from typing import Annotated, Literal

import msgspec

from contract.desired import TrialPolicy
from contract.messages import Short
from contract.wire import Message, encode
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
"""Of numbers that applications report by name."""
NAMED_METRICS: frozenset[Metric] = NUMBER_METRICS | {"class_share"}
"""Those with a `name`: an application's number, or an answer of a classifier."""
Percent = Annotated[int, msgspec.Meta(ge=1, le=100)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]

RETURNING: frozenset[Status] = frozenset({"aborting", "rolling_back"})
JUDGED: frozenset[Status] = frozenset({"running", "paused"})
FINAL: frozenset[Status] = frozenset({"completed", "aborted", "rolled_back"})


def person(actor: str) -> str:
    """The person that an actor's name in the audit stands for, be it by a policy or by the controller's own token."""
    return actor.removeprefix("policy of ").removeprefix("local:")


class Rule(Message, frozen=True):
    """An analysis rule: trips when `metric` is above `threshold` (`agreement`: below it), beyond chance."""

    metric: Metric
    threshold: Annotated[float, msgspec.Meta(ge=0)]
    name: Short = ""
    """Of `metric_increase` and `metric_decrease` the number that applications report; of `class_share` the answer."""
    change: Literal["relative", "absolute"] = "relative"
    """How `metric_increase` and `metric_decrease` read `threshold`: as a fraction of the mean that devices without the
    release report, which must be above 0, or in the number's own unit."""
    scope: Literal["fleet", "stratum"] = "fleet"
    """Judge all devices together, or each stratum by itself, so that one bad chip family cannot hide in an average."""
    min_samples: Annotated[int, msgspec.Meta(ge=1)] = 1
    """Devices for the ratios of devices; requests, of one row or many, for errors and times; rows for labels and
    compared answers. Below it the verdict is inconclusive."""
    judged_s: Seconds = 0.0
    """Judge what was measured in the newest so many seconds; 0: since the rollout began."""
    on_missing: Literal["wait", "skip"] = "wait"
    """No data at all: wait for it, or go by the other rules. Missing data is never a pass."""
    on_fail: OnFail = "roll_back"
    needs: Literal["no_harm_shown", "shown_harmless"] = "no_harm_shown"
    """no_harm_shown: passes with enough samples and nothing beyond the limit. shown_harmless: passes once the whole
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
    """How long every device of the wave must have been done before the next wave."""
    hold: bool = False
    """Whether the next wave waits for `edgeward rollout promote`."""


class Strategy(Message, frozen=True):
    """How a release reaches a fleet."""

    name: str
    waves: Annotated[tuple[Wave, ...], msgspec.Meta(min_length=1, max_length=50)]
    rules: tuple[Rule, ...] = ()
    strata: tuple[str, ...] = ("machine", "memory")
    """What tells kinds of devices apart: `machine`, `memory`, `cpus`, `runtime`, or the name of a label."""
    start_s: Annotated[float, msgspec.Meta(gt=0)] = 86_400.0
    """A device that has not begun so long after its offer is `silent`; one that is offline counts neither way."""
    deadline_s: Annotated[float, msgspec.Meta(gt=0)] = 86_400.0
    """A device that has begun and not decided so long after its offer counts as failed."""
    max_concurrent: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Devices that may be under way at a time; 0: all of a wave."""
    per_minute: Seconds = 0.0
    """Offers a minute when a wave begins; 0: all at once."""
    growth_per_minute: Annotated[float, msgspec.Meta(ge=1, le=10)] = 1.0
    """The rate is multiplied by this each minute of a wave."""
    jitter_s: Seconds = 0.0
    """Offers of a wave are spread over so long, each device by its own hash."""
    attempts: Annotated[int, msgspec.Meta(ge=1, le=10)] = 1
    """Offers to one device, where it fails for a reason that may pass (a bad link, a full disk)."""
    retry_s: Annotated[float, msgspec.Meta(gt=0)] = 60.0
    """Until the second attempt; twice as long until each one after it."""
    preflight: bool = True
    """Before the second wave every online device must have shown that its stable version is whole on its disk."""
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
    """The last confirmed release: where a roll back goes. 0 for none."""
    previous_digest: str = ""
    """The digest of the form that was confirmed."""
    lost_digest: str = ""
    """Of a confirmed version that the registry does not hold: there is no way back to it. A roll back leaves the device
    as it is, because what serves is better than nothing."""
    late: bool = False
    """Whether it joined after the plan was made, at the tail."""


class Rollout(Message, frozen=True):
    """One campaign: a release, its plan, and where it stands."""

    id: str
    model: str
    release: int
    digest: str
    strategy: Strategy
    members: tuple[Member, ...]
    selector: dict[str, str] = {}
    """Which devices it is about; those that match later join at the tail."""
    excluded: dict[str, str] = {}
    """Devices that match and cannot run the release, with the reason."""
    forms: tuple[Form, ...] = ()
    """What each form of the release asks of a device: devices that join late are fitted as well."""
    status: Status = "running"
    wave: int = 0
    began_at: float = 0.0
    wave_began_at: float = 0.0
    wave_done_at: float | None = None
    """When every device of the wave had decided."""
    returning_since: float | None = None
    """While it rolls back or is aborted: when its devices were told to go back."""
    promoted: int = -1
    """The newest wave whose end an operator has declared."""
    reason: str = ""
    stopped_strata: tuple[str, ...] = ()
    """Rolled back by themselves, while the others go on."""
    stopped_waves: tuple[int, ...] = ()
    acknowledged: tuple[str, ...] = ()
    """Devices whose failure an operator has resumed over; only new failures trip a rule again."""
    evidence_since: float = 0.0
    """Seconds since 1970; what was measured before is not judged again."""
    created_by: str = ""
    created_at: str = ""
    approved_by: str = ""
    schedule: Schedule = ALWAYS
    """When offers may be made."""
    among: tuple[str, ...] = ()
    """Only these devices, where that is not empty: a retry on those that failed."""
    retry_of: str = ""
    """The rollout whose failed devices it is about."""
    proposers: tuple[str, ...] = ()
    """Everybody behind the proposal: who started it or wrote the policy that did, and who pushed the version."""

    @property
    def people(self) -> tuple[str, ...]:
        """The names of `proposers` and of `created_by`, each once, without what says in which way they acted."""
        return tuple(dict.fromkeys(name for each in (self.created_by, *self.proposers) if (name := person(each))))

    def digest_for(self, member: Member) -> str:
        """The digest of the form that a member gets."""
        return member.digest or self.digest

    def carries(self, digest: str) -> bool:
        """Whether an artifact is the release, in whichever form."""
        return digest == self.digest or any(form.digest == digest for form in self.forms)

    def devices_up_to(self, wave: int) -> list[str]:
        """Devices of the waves up to and including `wave`."""
        return [member.device for member in self.members if member.wave <= wave]

    def is_stopped(self, member: Member) -> bool:
        """Whether the member was taken out and goes back."""
        return member.stratum in self.stopped_strata or member.wave in self.stopped_waves

    @property
    def last_wave(self) -> int:
        """Index of the last wave that has members."""
        return max((member.wave for member in self.members), default=0)

    @property
    def final_wave(self) -> int:
        """Index of the wave that ends the rollout: empty waves are left out, but for serving after a shadow."""
        serves = next(number for number, wave in enumerate(self.strategy.waves) if wave.mode == "serve")
        return max(self.last_wave, serves)

    @property
    def plan_digest(self) -> str:
        """Names the plan: approving it approves this release, by this strategy, to these devices in this order."""
        planned: tuple[object, ...] = (self.model, self.release, self.digest, self.strategy)
        planned = (*planned, [member for member in self.members if not member.late])
        if self.schedule != ALWAYS:
            planned = (*planned, self.schedule)
        return hashlib.sha256(encode(planned)).hexdigest()
