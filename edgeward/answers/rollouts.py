"""Rollouts: previews, where they stand, what rules say, policies, events."""

from edgeward.answers.alerts import Alert
from edgeward.answers.answer import Answer, Plain, Time


class WavePreview(Answer, frozen=True):
    """One wave before it happens."""

    wave: int
    mode: str
    devices: int
    strata: dict[str, int]
    soak_s: float
    hold: bool
    """Whether the wave ends only when somebody promotes it."""


class Preview(Answer, frozen=True):
    """What a rollout would do, as things stand."""

    model: str
    release: int
    strategy: str
    plan_digest: str
    devices: int
    waves: tuple[WavePreview, ...]
    excluded: dict[str, str]
    """By device, why."""
    variants: dict[str, int]
    """Devices that get the release in a smaller form, by its name."""
    bytes_to_send: int
    finish_s: float
    """At the earliest."""
    power: tuple[str, ...]
    """What each rule can detect in the first wave."""
    no_way_back: dict[str, str]
    unproven: tuple[str, ...]


class Member(Answer, frozen=True):
    """One device in a rollout."""

    device: str
    wave: int
    stratum: str
    outcome: str
    phase: str
    serving_release: int | None
    code: str
    detail: str


class Figures(Answer, frozen=True):
    """The numbers of a verdict: an estimate, and the interval that holds the truth at every look."""

    value: float
    low: float
    high: float
    limit: float
    unit: str
    """ratio: of inferences or answers. fraction: of what it was before. times: as long as before."""
    devices: int
    devices_beside: int
    samples: int
    samples_beside: int
    finds: float
    """The value from which on the rule trips with a chance of 80 %."""


class Verdict(Answer, frozen=True):
    """What a rule says now: `pass`, `fail` or `inconclusive`."""

    metric: str
    stratum: str
    """Empty where the rule judges all devices together."""
    verdict: str
    detail: str
    figures: Figures | None = None


class VerdictPoint(Verdict, frozen=True, kw_only=True):
    """What a rule said at one moment."""

    at: Time


class Transfer(Answer, frozen=True):
    """What has come across, as far as devices have told."""

    total_bytes: int
    done_bytes: int
    bytes_s: float
    eta_s: float | None
    """At that rate; None while nothing has come across."""


class Rollout(Answer, frozen=True):
    """One rollout as it stands."""

    id: str
    model: str
    release: int
    strategy: str
    status: str
    open: bool
    wave: int
    waves: int
    reason: str
    counts: dict[str, int]
    """Members by outcome."""
    transfer: Transfer
    verdicts: tuple[Verdict, ...]
    created_at: Time
    created_by: str
    members: tuple[Member, ...]
    excluded: dict[str, str]
    plan_digest: str
    approved_by: str
    proposers: tuple[str, ...]
    """Everybody behind it: none of them may approve it."""

    def table_rows(self) -> list[dict[str, object]]:
        """One row, without what is a table by itself: members, verdicts, transfer, excluded devices."""
        (row,) = super().table_rows()
        return [{k: v for k, v in row.items() if k not in ("members", "verdicts", "transfer", "excluded")}]


class DeploymentPolicy(Answer, frozen=True):
    """How every version of a model that passes its gates goes out by itself."""

    strategy: Plain
    """Every field of the strategy, as in configs/rollouts."""
    selector: dict[str, str]
    approval: bool
    set_by: str
    set_at: Time
    after_release: int = 0
    """Only newer versions are due: set where the controller was restored from a backup."""

    @property
    def strategy_name(self) -> str:
        """The strategy's name."""
        return str(self.strategy["name"])


class RolloutData(Answer, frozen=True, tag_field="kind", tag="rollout"):
    """Where a rollout stood when an event was told."""

    model: str
    release: int
    status: str
    wave: int
    reason: str


class Finding(Answer, frozen=True):
    """One thing that is wrong with the controller."""

    code: str
    detail: str


class HealthData(Answer, frozen=True, tag_field="kind", tag="health"):
    """What was wrong with the controller; nothing, once all of it was over."""

    findings: tuple[Finding, ...]


class ExpiryData(Answer, frozen=True, tag_field="kind", tag="expiry"):
    """Something that expires soon, or has; `what` is `renewal` for a device that came back too late to renew."""

    what: str
    expires: float
    """Seconds since 1970."""
    left_s: float
    """Negative once it has expired."""


class SickData(Answer, frozen=True, tag_field="kind", tag="sick"):
    """A device on which the stable version fails as much as the one on trial: no version is to blame."""

    model: str
    detail: str


class VerdictData(Answer, frozen=True, tag_field="kind", tag="verdict"):
    """A rule that says another word than before, with its numbers."""

    metric: str
    stratum: str
    verdict: str
    detail: str
    figures: Figures | None


class AlertData(Answer, frozen=True, tag_field="kind", tag="alert"):
    """An alert that is in another state than before."""

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
    data: RolloutData | HealthData | ExpiryData | SickData | VerdictData | AlertData
