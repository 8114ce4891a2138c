"""Duties of the EU AI Act and of NIST's AI RMF: the evidence for each, what signs it, and how it is checked again.

Decides which evidence belongs to which duty, only from facts. It is no legal advice: people must decide whether a
system is high-risk, and whether evidence is enough. Sources: Regulation (EU) 2024/1689, NIST AI 100-1. Refuses to
know where the facts come from.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

SIX_MONTHS = timedelta(days=183)
NO_ADVICE = "This is no legal advice: it says which evidence exists, not whether a duty applies or is fulfilled."


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts about one model that the duties need, from a controller."""

    model: str
    now: datetime
    audit_entries: int
    audit_since: datetime | None
    """When the oldest entry was made; None without any."""
    audit_faults: tuple[str, ...]
    version: str
    """The newest version that passed its gates, as `v3`; empty without one."""
    signed: bool
    """Whether a release signer has signed it."""
    gates: tuple[str, ...]
    has_note: bool
    has_data_digest: bool
    metrics: tuple[str, ...]
    rollouts: int
    approved: int
    rolled_back: int
    rules_of_alerts: int
    alerts: int
    inferences: int
    """Inferences that devices reported in the last 30 days."""
    captured: bool
    """Whether devices have sent rows."""
    drift_measured: bool
    fairness_gate: bool
    retraining_policy: bool


@dataclass(frozen=True, slots=True)
class Finding:
    """One duty with its evidence."""

    source: str
    """The source of the duty, as `EU AI Act Art. 12`."""
    duty: str
    found: bool
    evidence: str
    """The evidence, or what is missing and how to get it."""
    signed_by: str
    """The signature or hash that shows a later change of the evidence."""
    check: str
    """The command that checks it again."""


def findings(facts: Facts) -> list[Finding]:
    """One finding for each duty, in the order of the law."""
    return [
        Finding(source, duty, *judged(facts), signed_by, check.format(model=facts.model))
        for source, duty, judged, signed_by, check in _DUTIES
    ]


Judged = tuple[bool, str]
_CHAIN = "hash chain; its checkpoint is in the signed timestamp that every device holds"
_RELEASE = "the release signer's role, under the root of trust"
_DIRECTOR = "the director's statement, under the root of trust"
_DEVICES = "each device's own key, checked when its message came"


def _logs(facts: Facts) -> Judged:
    if facts.audit_faults:
        return False, f"the audit is damaged: {facts.audit_faults[0]}"
    if not facts.audit_since:
        return False, "the audit is empty"
    return True, f"{facts.audit_entries} entries since {facts.audit_since:%Y-%m-%d}, each with who, what and when"


def _six_months(facts: Facts) -> Judged:
    found, words = _logs(facts)
    if not found or facts.audit_since is None:
        return found, words
    reached = facts.audit_since + SIX_MONTHS
    kept = f"kept since {facts.audit_since:%Y-%m-%d}; nothing deletes an entry"
    return True, kept if reached <= facts.now else f"{kept}; six months are reached on {reached:%Y-%m-%d}"


def _instructions(facts: Facts) -> Judged:
    if facts.has_note:
        return True, f"{facts.version} carries a note about its use, which the model card shows"
    return (
        False,
        f"nobody has written what it is for: edgeward model note {facts.model}@{facts.version or 'newest'} TEXT",
    )


def _oversight(facts: Facts) -> Judged:
    if facts.approved:
        return True, f"{facts.approved} of {facts.rollouts} rollouts were approved by a second person"
    return False, f"none of {facts.rollouts} rollouts was approved by a second person; edgeward rollout approve does it"


def _input_data(facts: Facts) -> Judged:
    if facts.drift_measured:
        return True, "inputs on devices are compared with the training sample, column by column"
    return False, "no device has reported its inputs yet, so nothing could be compared"


def _watched(facts: Facts) -> Judged:
    if facts.rules_of_alerts and facts.inferences:
        return (
            True,
            f"{facts.rules_of_alerts} alert rules over {facts.inferences} inferences in 30 days; {facts.alerts} alerts",
        )
    if not facts.rules_of_alerts:
        return False, "there are no alert rules: configs/alerts"
    return False, "devices have reported no inference in 30 days"


def _after_market(facts: Facts) -> Judged:
    found, words = _watched(facts)
    rows = "rows come back from devices" if facts.captured else "no row has come back from devices"
    policy = "a retraining policy stands" if facts.retraining_policy else "no retraining policy"
    return found and (facts.captured or facts.retraining_policy), f"{words}; {rows}; {policy}"


def _inventory(facts: Facts) -> Judged:
    if facts.version and facts.signed:
        return True, f"{facts.version} is registered with its lineage and signed"
    return False, "no version has passed its gates" if not facts.version else f"{facts.version} waits for a signature"


def _measured(facts: Facts) -> Judged:
    if facts.version and facts.gates:
        return (
            True,
            f"gates of {facts.version}: {', '.join(facts.gates)}; metrics: {', '.join(facts.metrics) or 'none told'}",
        )
    return False, "no version has passed its gates"


def _fair(facts: Facts) -> Judged:
    if facts.fairness_gate:
        return True, f"{facts.version} was judged by groups before release"
    return False, f"no gate on fairness judges versions: edgeward model gates {facts.model} --set FILE"


def _origin(facts: Facts) -> Judged:
    if facts.has_data_digest:
        return True, f"the digest of the rows that {facts.version} was trained on is kept"
    return False, "nobody has said what it was trained on: push with data=, or from a run"


def _way_back(facts: Facts) -> Judged:
    words = f"devices go back by themselves; {facts.rolled_back} of {facts.rollouts} rollouts were rolled back"
    return bool(facts.rollouts), words if facts.rollouts else "nothing was rolled out yet"


_DUTIES: tuple[tuple[str, str, Callable[[Facts], Judged], str, str], ...] = (
    ("EU AI Act Art. 12", "events are recorded automatically over the life of the system", _logs, _CHAIN,
     "edgeward audit verify"),
    ("EU AI Act Art. 19", "the provider keeps these logs for six months at least", _six_months, _CHAIN,
     "edgeward audit export audit.json && edgeward audit verify --file audit.json"),
    ("EU AI Act Art. 26(1)", "it is used as its instructions say", _instructions, _CHAIN,
     "edgeward model export {model} --format huggingface --out DIR"),
    ("EU AI Act Art. 26(2)", "people who are able to oversee it do so", _oversight, _CHAIN,
     "edgeward audit list --action 'rollout approve'"),
    ("EU AI Act Art. 26(4)", "input data fit the purpose", _input_data, _DEVICES, "edgeward model drift {model}"),
    ("EU AI Act Art. 26(5)", "its operation is monitored, and the provider is told", _watched, _CHAIN,
     "edgeward alert list"),
    ("EU AI Act Art. 26(6)", "the deployer keeps logs for six months at least", _six_months, _CHAIN,
     "edgeward audit verify"),
    ("EU AI Act Art. 72", "performance is collected and analysed after it is on the market", _after_market, _DEVICES,
     "edgeward telemetry query {model}"),
    ("NIST AI RMF GOVERN 1.6", "AI systems are inventoried", _inventory, _RELEASE,
     "edgeward lineage export {model}@newest --out DIR && edgeward lineage verify DIR --root root.json"),
    ("NIST AI RMF MAP 4.1", "the origin of data and of parts is known", _origin, _DIRECTOR,
     "edgeward lineage verify DIR --root root.json"),
    ("NIST AI RMF MEASURE 2.3", "performance is measured before deployment", _measured, _DIRECTOR,
     "edgeward model gates {model}"),
    ("NIST AI RMF MEASURE 2.4", "behaviour is monitored in production", _watched, _DEVICES,
     "edgeward telemetry query {model}"),
    ("NIST AI RMF MEASURE 2.11", "fairness is evaluated", _fair, _DIRECTOR, "edgeward model fairness {model}"),
    ("NIST AI RMF MANAGE 2.4", "it can be superseded and deactivated", _way_back, _CHAIN,
     "edgeward rollout list --model {model}"),
)  # fmt: skip
