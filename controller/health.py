"""Decides from facts whether the controller works. Returns findings; without a finding it works.

Decides what is a finding, and by which figures. Refuses to know where facts come from, clocks and HTTP.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from contract.wire import Message

PASS_FAILING_S = 10.0
"""Seconds for which passes must fail to be a finding: a full disk or a reconnect may cost one or two, each a second
apart."""
PASS_LATE_S = 45.0
"""Seconds without a good pass after which a controller is late, also if its pass hangs. If a monitor checks every 5
s, an operator is notified within a minute.
"""
PASS_LATE_INTERVALS = 3.0
"""The same limit in intervals between passes, if they are configured to be long."""
FREE_BYTES_WANTED = 256 * 1024**2
"""Free space in the data directory: one conversion with its artifact, and records for days."""
EXPIRY_DAYS = 7.0
"""Certificates and roles with fewer days left are a finding: a working week in which a person can sign."""

STARTING_S = 20.0
"""Seconds after a start in which a missing connection to the broker is no fault yet: a connection takes one to ten
seconds, with a key exchange on a busy machine."""
MAX_NAMED = 3
"""Devices that a finding names."""


CODES = (
    "passes_fail", "passes_late", "steps_fail", "broker_lost", "audit_broken", "not_published", "retained_by_others",
    "rows_unreadable", "disk_low", "expires_soon", "identity_taken", "not_authentic",
    "messages_refused", "rows_left_out", "config_refused",
)  # fmt: skip
"""All codes of findings."""
STEPS = (
    "roster", "answers", "roll_up", "vitals", "policies", "deletions", "retention", "retraining", "revocations",
    "certificates",
)  # fmt: skip
"""What follows a pass, in order. Each step has a try of its own."""
OF_DEVICES = frozenset({"identity_taken", "not_authentic", "messages_refused", "rows_left_out", "config_refused"})
"""Codes that one device can cause: they are reported, but the controller still counts as healthy. Somebody with the key
of one device must not be able to make a monitor restart the controller again and again."""


class Finding(Message, frozen=True):
    """One thing that is wrong."""

    code: str
    """One of CODES."""
    detail: str


@dataclass
class PassRecord:
    """How the newest passes ended. Times are monotonic seconds; before the first pass, `good_at` is the start."""

    good_at: float
    failing_since: float | None = None
    """When the first pass failed after the last good one."""
    last_error: str = ""
    """The error in words; it stays after a good pass, so that people can see what was wrong."""
    good: int = 0
    good_s: float = 0.0
    """The time that all good passes took together."""
    failures: int = 0
    began_at: float = field(init=False)
    """The start."""

    def __post_init__(self) -> None:
        self.began_at = self.good_at

    def passed(self, now: float, took_s: float = 0.0) -> None:
        """Notes a good pass."""
        self.good_at, self.failing_since = now, None
        self.good += 1
        self.good_s += took_s

    def failed(self, now: float, words: str) -> None:
        """Notes a pass that failed."""
        self.last_error = words
        self.failures += 1
        if self.failing_since is None:
            self.failing_since = now


@dataclass
class StepRecord:
    """How the steps after a pass ended: what one of them cannot do, the others still do. Times are in monotonic s."""

    failing: dict[str, tuple[float, str]] = field(default_factory=dict)
    """By step whose newest try failed, since when it fails, and the newest fault in words."""
    failures: Counter[str] = field(default_factory=Counter)
    """Failed tries by step."""

    def went_well(self, step: str) -> None:
        """Notes a good try."""
        self.failing.pop(step, None)

    def failed(self, step: str, now: float, words: str) -> bool:
        """Notes a failed try; returns whether these words are new: a step that fails in each pass is told once."""
        since, known = self.failing.get(step, (now, ""))
        self.failing[step] = since, words
        self.failures[step] += 1
        return words != known

    def told(self, now: float) -> dict[str, str]:
        """Returns by step the fault, of those that have failed for `PASS_FAILING_S`."""
        return {step: words for step, (since, words) in self.failing.items() if now - since >= PASS_FAILING_S}


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts by which health is judged."""

    pass_age_s: float
    """Seconds since the last good pass."""
    failing_s: float | None
    """Seconds since the first failed pass after it; None while passes are good."""
    last_error: str
    reconcile_s: float
    """The configured interval between passes."""
    broker: str
    """The kind and the address of the broker."""
    broker_connected: bool
    broker_fault: str
    """Why a started broker does not run; empty while it does, and for brokers elsewhere."""
    free_bytes: int
    """Free bytes in the data directory."""
    expiry_days: Mapping[str, float]
    """Days that are left, by certificate and role."""
    skipped: Mapping[str, str]
    """The fault of each desired document and blob that could not be published."""
    foreign: Mapping[str, str]
    """The number of repairs of each topic with recent foreign retained messages."""
    unreadable: Mapping[str, str]
    """The fault of each row of the store that was set aside at the start."""
    failing_steps: Mapping[str, str] = field(default_factory=dict)
    """The fault of each step after a pass that fails."""
    taken: Sequence[str] = ()
    """Devices whose name two devices use."""
    strangers: Mapping[str, str] = field(default_factory=dict)
    """The number of recent unsigned messages in the name of each device."""
    loudest: Mapping[str, str] = field(default_factory=dict)
    """The malformed or excessive recent messages of each device, in words, the worst first."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """The captured rows of each device that were left out lately, in words."""
    refused_configs: Mapping[str, str] = field(default_factory=dict)
    """The reason why a device does not use the configuration that was sent to it, by device."""
    running_s: float = float("inf")
    """Seconds since the start."""
    audit_fault: str = ""
    """The fault of the audit at an earlier start; empty if there was none, or once a person has examined it."""


def findings_of(facts: Facts) -> tuple[Finding, ...]:
    """Everything that is wrong, the worst first."""
    return tuple(
        Finding(code=code, detail=detail)
        for code, detail in (
            _passes(facts),
            _left_out("steps_fail", "fails after every pass, and is tried again", facts.failing_steps),
            _broker(facts),
            ("audit_broken", facts.audit_fault),
            _left_out("not_published", "could not be published", facts.skipped),
            _left_out("retained_by_others", "was retained by somebody else", facts.foreign),
            _left_out("rows_unreadable", "could not be read at the start", facts.unreadable),
            _disk(facts),
            _expiry(facts),
            _taken(facts),
            _strangers(facts),
            _loudest(facts),
            _rows_left_out(facts),
            _refused_configs(facts),
        )
        if detail
    )


def lasting_findings(facts: Facts) -> tuple[Finding, ...]:
    """Everything that is wrong, as people and alerts are told: a start is not a fault, so a connection that is being
    made is none in the first STARTING_S seconds. Monitors get `findings_of`: until then the controller is not ready.
    """
    is_connecting = facts.running_s < STARTING_S and not facts.broker_connected and not facts.broker_fault
    return tuple(each for each in findings_of(facts) if each.code != "broker_lost" or not is_connecting)


def is_failing(findings: Sequence[Finding]) -> bool:
    """Whether something is wrong with the controller itself."""
    return any(each.code not in OF_DEVICES for each in findings)


def nearest_expiry(facts: Facts) -> tuple[str, float]:
    """Returns what expires first, and in how many days; ("", infinity) if nothing does."""
    return min(facts.expiry_days.items(), key=lambda item: item[1], default=("", float("inf")))


def _passes(facts: Facts) -> tuple[str, str]:
    if facts.failing_s is not None and facts.failing_s >= PASS_FAILING_S:
        words = f"no pass has succeeded for {facts.pass_age_s:.0f} s; the last one failed: {facts.last_error}"
        return "passes_fail", words
    if facts.pass_age_s > max(PASS_LATE_S, PASS_LATE_INTERVALS * facts.reconcile_s):
        return "passes_late", f"the last pass ended {facts.pass_age_s:.0f} s ago, and the next one has not"
    return "", ""


def _broker(facts: Facts) -> tuple[str, str]:
    if facts.broker_fault:
        return "broker_lost", f"{facts.broker}: {facts.broker_fault}"
    if not facts.broker_connected:
        return "broker_lost", f"no connection to the broker ({facts.broker}): trying again"
    return "", ""


def _left_out(code: str, what: str, faults: Mapping[str, str]) -> tuple[str, str]:
    if not faults:
        return "", ""
    name, fault = min(faults.items())
    more = f", and {len(faults) - 1} more" if len(faults) > 1 else ""
    return code, f"{name} {what}: {fault}{more}"


def _taken(facts: Facts) -> tuple[str, str]:
    if not facts.taken:
        return "", ""
    more = f" and {len(facts.taken) - MAX_NAMED} more" if len(facts.taken) > MAX_NAMED else ""
    named = ", ".join(sorted(facts.taken)[:MAX_NAMED])
    return "identity_taken", (
        f"two devices speak as {named}{more}: stop the copy, or give it a name and a certificate of its own"
    )


def _more(told: Mapping[str, str], of: str = "") -> str:
    """Returns how many there are beside the one that a sentence names; empty if it is the only one."""
    return f", and {len(told) - 1} more{of}" if len(told) > 1 else ""


def _strangers(facts: Facts) -> tuple[str, str]:
    if not facts.strangers:
        return "", ""
    name, words = min(facts.strangers.items())
    more = _more(facts.strangers)
    return "not_authentic", (
        f"not signed by {name}: {words}{more}. Its key was lost or replaced, or somebody else writes in its name: "
        f"look at that device, and give it new keys (edgeward device replace {name})"
    )


def _loudest(facts: Facts) -> tuple[str, str]:
    if not facts.loudest:
        return "", ""
    name, words = next(iter(facts.loudest.items()))
    more = _more(facts.loudest)
    return "messages_refused", (
        f"{name} sends most of what is dropped: {words}{more}. Look at that device: its agent is of another version or "
        f"broken, or somebody else has its key"
    )


def _rows_left_out(facts: Facts) -> tuple[str, str]:
    if not facts.left_out:
        return "", ""
    name, words = min(facts.left_out.items())
    more = _more(facts.left_out, " devices")
    return "rows_left_out", (
        f"not kept from {name}{more}: {words}. Push that version again, or roll out one that is there; the counts: "
        f"edgeward data list"
    )


def _refused_configs(facts: Facts) -> tuple[str, str]:
    if not facts.refused_configs:
        return "", ""
    name, words = min(facts.refused_configs.items())
    more = _more(facts.refused_configs, " devices")
    return "config_refused", f"{name}: {words}{more}. Send another one: edgeward device tune {name}"


def _disk(facts: Facts) -> tuple[str, str]:
    if facts.free_bytes >= FREE_BYTES_WANTED:
        return "", ""
    free_mb, wanted_mb = facts.free_bytes // 10**6, FREE_BYTES_WANTED // 10**6
    return "disk_low", f"{free_mb} MB are free in the data directory, {wanted_mb} wanted"


def _expiry(facts: Facts) -> tuple[str, str]:
    what, days = nearest_expiry(facts)
    if days >= EXPIRY_DAYS:
        return "", ""
    return "expires_soon", f"{what} expires in {days:.1f} days" if days > 0 else f"{what} has expired"
