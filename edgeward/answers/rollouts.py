"""Rollouts: previews, states, verdicts of rules, policies, events."""

from edgeward.answers.alerts import Alert
from edgeward.answers.answer import Answer, Plain, Time


class WavePreview(Answer, frozen=True):
    """A planned wave."""

    wave: int
    """Counted from 0; people count from 1."""
    mode: str
    devices: int
    strata: dict[str, int]
    soak_s: float
    hold: bool
    """Whether the wave ends only when an operator promotes it."""


class Preview(Answer, frozen=True):
    """The plan of a rollout at this time."""

    model: str
    release: int
    strategy: str
    plan_digest: str
    devices: int
    waves: tuple[WavePreview, ...]
    excluded: dict[str, str]
    """The reason of each excluded device."""
    variants: dict[str, int]
    """Devices that get the release in a smaller form, by its name."""
    bytes_to_send: int
    finish_s: float
    """The earliest end, in seconds."""
    finish_low_s: float
    finish_high_s: float
    """The range in seconds in which it is expected to end, from the usual online hours of devices that are offline."""
    power: tuple[str, ...]
    """What each rule can detect in the first wave."""
    no_way_back: dict[str, str]
    unproven: tuple[str, ...]
    pinned: tuple[str, ...] = ()
    """Devices among `excluded` that a pin holds at another release."""
    warnings: tuple[str, ...] = ()
    """Sentences for the person who starts it."""


class Member(Answer, frozen=True):
    """One device in a rollout."""

    device: str
    wave: int
    """Counted from 0; people count from 1."""
    stratum: str
    outcome: str
    phase: str
    serving_release: int | None
    code: str
    detail: str


class Figures(Answer, frozen=True):
    """The numbers of a verdict: an estimate, and the interval that contains the true value at every look."""

    value: float
    low: float
    high: float
    limit: float
    unit: str
    """ratio: of inferences or answers. fraction: of the value before. times: as long as before. devices: of devices
    that have decided."""
    devices: int
    devices_beside: int
    samples: int
    samples_beside: int
    trial: float | None
    """The level of the release itself: accuracy, error, fraction of failures, or p95 in microseconds."""
    control: float | None
    """The level of the version that it is compared with."""
    finds: float
    """The value from which on the rule trips with a probability of 80 %."""


class Verdict(Answer, frozen=True):
    """The verdict of a rule: `pass`, `fail`, `inconclusive` or `no_data`."""

    metric: str
    stratum: str
    """Empty if the rule judges all devices together."""
    verdict: str
    detail: str
    figures: Figures | None = None
    rule: int = 0
    """The index of the rule in its strategy."""
    on_fail: str | None = None
    """The consequence if it fails."""
    across: bool = False
    """Whether the interval holds values on both sides of the limit: `pass` then means that no harm was shown."""

    @property
    def word(self) -> str:
        """The verdict as it is shown: `pass`, or `no harm shown` where the interval reaches past the limit."""
        return "no harm shown" if self.verdict == "pass" and self.across else self.verdict


class VerdictPoint(Verdict, frozen=True, kw_only=True):
    """The verdict of a rule at one moment."""

    at: Time


class Transfer(Answer, frozen=True):
    """What was transferred, as far as devices have reported."""

    total_bytes: int
    done_bytes: int
    bytes_s: float
    eta_s: float | None
    """The seconds left at that rate; None while nothing was transferred."""


class WaveProgress(Answer, frozen=True):
    """The state of one wave."""

    wave: int
    """Counted from 0; people count from 1."""
    mode: str
    percent: float | None
    state: str
    """done, now or waiting."""
    devices: int
    counts: dict[str, int]
    """Members by outcome."""
    strata: dict[str, dict[str, int]]
    """The same by stratum."""
    soak_s: float
    hold: bool
    left_s: float
    """The smallest number of seconds that it still takes."""


class Exposure(Answer, frozen=True):
    """The part of the fleet's work that a release has done."""

    device_hours: float
    predictions: int
    predictions_ratio: float
    device_hours_at_most: float
    """The most device hours until the end of this wave."""


class RolloutSummary(Answer, frozen=True):
    """One rollout in a list."""

    id: str
    model: str
    release: int
    strategy: str
    status: str
    open: bool
    wave: int
    """Counted from 0; people count from 1."""
    waves: int
    reason: str
    counts: dict[str, int]
    """Members by outcome."""
    transfer: Transfer
    failed: tuple[Member, ...]
    """The first members that have failed."""
    verdicts: tuple[Verdict, ...]
    created_at: Time
    created_by: str

    def __str__(self) -> str:
        """A sentence, as the command prints it; `repr` has the fields."""
        because = f": {self.reason}" if self.reason else ""
        stands = f"{self.status.replace('_', ' ')}, wave {self.wave + 1} of {self.waves}{because}"
        return f"{self.id} {self.model} v{self.release} by {self.strategy}: {stands}"

    def table_rows(self) -> list[dict[str, object]]:
        """One row, without the parts that are tables themselves: members, verdicts, transfer, excluded devices."""
        (row,) = super().table_rows()
        return [{k: v for k, v in row.items() if k not in _TABLES}]


_TABLES = frozenset({"members", "failed", "verdicts", "transfer", "excluded", "progress", "exposure"})


class MemberPage(Answer, frozen=True):
    """A page of the members of a rollout."""

    total: int
    members: tuple[Member, ...]


class VerbPreview(Answer, frozen=True):
    """The effects of a step on a rollout now."""

    verb: str
    allowed: bool
    refusal: str
    status: str
    wave: int
    """Counted from 0; people count from 1."""
    code: str
    """The code of the refusal; empty if the step is allowed."""
    sentences: tuple[str, ...]
    to_release: dict[str, int]
    """Devices by the release that they would be sent; 0: none."""
    devices: tuple[str, ...]


class Rollout(RolloutSummary, frozen=True):
    """One rollout with its present state."""

    progress: tuple[WaveProgress, ...]
    left_s: float
    left_low_s: float
    left_high_s: float
    """The range in seconds in which it is expected to end, from the usual online hours of devices that are offline."""
    left: str
    """The smallest time left, in a sentence; empty once it has ended."""
    waits_for: str
    """A sentence about the devices that have not decided, with the phase of each and whether it gets requests, or about
    rules whose counts cannot grow any more; empty if there is none."""
    exposure: Exposure | None
    devices: int
    members: tuple[Member, ...]
    """The first 200; `RolloutHandle.members` has all."""
    excluded: dict[str, str]
    plan_digest: str
    approved_by: str
    retry_of: str
    schedule: str
    """When offers are made; empty without a schedule."""
    proposers: tuple[str, ...]
    """The people who proposed it: none of them may approve it."""
    trace_id: str = ""
    """The id of the OpenTelemetry trace that is sent at the end; empty if none is sent."""


class DeploymentPolicy(Answer, frozen=True):
    """The policy by which every version of a model that passes its gates is rolled out automatically."""

    strategy: Plain
    """Every field of the strategy, as in configs/rollouts."""
    selector: dict[str, str]
    approval: bool
    set_by: str
    set_at: Time
    after_release: int = 0
    """Only newer versions are due: set if the controller was restored from a backup."""

    @property
    def strategy_name(self) -> str:
        """The strategy's name."""
        return str(self.strategy["name"])


class Template(Answer, frozen=True):
    """One revision of a rollout template."""

    name: str
    revision: int
    """From 1 on; each save makes the next one."""
    strategy: Plain
    """Every field of the strategy, as in configs/rollouts."""
    selector: dict[str, str]
    hours: tuple[str, ...]
    """In UTC, in which offers are made; empty: all."""
    note: str
    by: str
    at: Time

    @property
    def strategy_name(self) -> str:
        """The strategy's name."""
        return str(self.strategy["name"])

    def table_rows(self) -> list[dict[str, object]]:
        """One row, with the strategy's name in place of its fields."""
        (row,) = super().table_rows()
        return [row | {"strategy": self.strategy_name}]


class RolloutData(Answer, frozen=True, tag_field="kind", tag="rollout"):
    """The state of a rollout at the time of an event."""

    model: str
    release: int
    status: str
    wave: int
    """Counted from 0; people count from 1."""
    reason: str
    trace_id: str = ""
    """The id of its OpenTelemetry trace; empty if none is sent."""


class Finding(Answer, frozen=True):
    """One fault of the controller."""

    code: str
    detail: str


class HealthData(Answer, frozen=True, tag_field="kind", tag="health"):
    """The faults of the controller; empty once all have ended."""

    findings: tuple[Finding, ...]


class ExpiryData(Answer, frozen=True, tag_field="kind", tag="expiry"):
    """Something that expires soon, or has expired; `what` is `renewal` for a device that returned too late to renew."""

    what: str
    expires: float
    """Seconds since 1970."""
    left_s: float
    """Negative once it has expired."""


class SickData(Answer, frozen=True, tag_field="kind", tag="sick"):
    """A device on which the stable version fails as much as the one on trial: the fault is not in a version."""

    model: str
    detail: str


class VerdictData(Answer, frozen=True, tag_field="kind", tag="verdict"):
    """A rule whose verdict has changed, with its numbers."""

    metric: str
    stratum: str
    verdict: str
    detail: str
    figures: Figures | None


class AuditData(Answer, frozen=True, tag_field="kind", tag="audit"):
    """An entry of the audit; the event's subject is the entry's."""

    number: int
    actor: str
    action: str
    detail: str


class MentionData(Answer, frozen=True, tag_field="kind", tag="mention"):
    """A person was mentioned with an @, or asked for a review."""

    about: str
    who: str
    by: str
    text: str


class AlertData(Answer, frozen=True, tag_field="kind", tag="alert"):
    """An alert whose state has changed."""

    alert: Alert


class Event(Answer, frozen=True):
    """One CloudEvent 1.0; `id` counts up within `source`, `subject` is the rollout, the device or `controller`."""

    specversion: str
    id: str
    source: str
    type: str
    subject: str
    time: Time
    datacontenttype: str
    data: AuditData | MentionData | RolloutData | HealthData | ExpiryData | SickData | VerdictData | AlertData
