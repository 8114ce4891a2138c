"""What is wrong with a file of alert rules, and which rules cannot trip on this fleet, with the arithmetic.

Decides what is refused, and names the line. Refuses to know how a file was read.
"""

import itertools
import math
from collections import Counter
from collections.abc import Iterator

from contract.errors import BadInput, Code
from contract.toml_config import decode_toml, line_of
from controller.alerts.device_measures import selected
from controller.alerts.facts import Facts
from controller.alerts.measures import MEASURES, wilson_interval
from controller.alerts.rule import AlertFile, MailReceiver, Rule
from controller.fleet.twin import Twin

BOUNDS = ("above", "below")
OPTIONAL_KEYS = ("above", "below", "by", "selector", "codes", "model", "min_devices")
OWN_MACHINE = ("localhost", "127.0.0.1", "::1")


def read_alert_file(text: str, source: str) -> AlertFile:
    """Returns the parsed file in `text`. BadInput `alert_rule_invalid` with `source:line: what is wrong and what to
    do`.
    """
    try:
        found = decode_toml(text, AlertFile, source)
    except BadInput as error:
        raise BadInput(Code.ALERT_RULE_INVALID, error.detail) from None
    for place, words in faults_of_file(found):
        raise BadInput(Code.ALERT_RULE_INVALID, f"{source}:{_line(text, place)}: {words}")
    return found


def idle_words(text: str, found: AlertFile, source: str, facts: Facts) -> dict[str, str]:
    """Returns, by rule that cannot trip on this fleet, `source:line: why`, with the arithmetic; without a file, only
    why.
    """
    return {
        rule.name: f"{source}:{_line(text, f'rule[{number}]')}: {rule.name}: {words}" if text else words
        for number, rule in enumerate(found.rule)
        if (words := why_idle(rule, facts))
    }


def faults_of_file(found: AlertFile) -> Iterator[tuple[str, str]]:
    """Returns (place, what is wrong) of everything that is wrong for any fleet."""
    rules, receivers = (Counter(each.name for each in part) for part in (found.rule, found.receiver))
    for number, rule in enumerate(found.rule):
        place = f"rule[{number}]"
        if rules[rule.name] > 1:
            yield f"{place}.name", f"two rules are called {rule.name}: give each its own name"
        yield from ((f"{place}.{key}", f"{rule.name}: {words}") for key, words in _faults_of(rule))
    for number, receiver in enumerate(found.receiver):
        if receivers[receiver.name] > 1:
            yield f"receiver[{number}].name", f"two receivers are called {receiver.name}: give each its own name"
        if isinstance(receiver, MailReceiver) and receiver.security == "none" and receiver.host not in OWN_MACHINE:
            words = f"{receiver.name}: mail to {receiver.host} would travel unencrypted: take starttls or tls"
            yield f"receiver[{number}].security", words


def _faults_of(rule: Rule) -> Iterator[tuple[str, str]]:
    measure, plain = MEASURES[rule.measure], Rule(name=rule.name, measure=rule.measure)
    for key in OPTIONAL_KEYS:
        given = getattr(rule, key) != getattr(plain, key)
        if given and key not in measure.keys:
            known = ", ".join(sorted(measure.keys)) or "none of them"
            yield key, f"{rule.measure} does not look at {key}: leave it out (it looks at {known})"
        if key in BOUNDS and key in measure.keys - measure.optional and not given:
            yield "measure", f"{rule.measure} needs a limit: add {key} = a number"
        if given and key in BOUNDS and not math.isfinite(getattr(rule, key)):
            yield key, f"{key} = {getattr(rule, key)}: expected a finite number"
    if rule.above is not None and rule.measure.endswith("ratio") and not 0 <= rule.above < 1:
        yield "above", f"above = {rule.above:g}: a ratio lies between 0 and 1, so this rule could never trip"
    if rule.measure == "estimated_quality" and rule.below is not None and not 0 < rule.below <= 1:
        yield "below", f"below = {rule.below:g}: quality lies between 0 and 1, so this rule would never or always trip"


def why_idle(rule: Rule, facts: Facts) -> str:
    """Returns why a rule cannot trip on this fleet as it is now, or would trip on good devices; empty if it is right.

    A fleet without any device is not judged, because rules are written before devices exist.
    """
    if not facts.twins:
        return ""
    if rule.model and rule.model not in facts.models:
        return f"there is no model {rule.model!r}: see `edgeward model list`"
    if not any(True for _ in selected(rule, facts)):
        wanted = ", ".join(f"{name}={text}" for name, text in rule.selector.items())
        return f"none of {len(facts.twins)} devices has {wanted}: it cannot trip; see `edgeward device list`"
    if rule.measure == "unheard_s" and rule.above is not None and rule.above < facts.silent_s:
        return (
            f"above = {rule.above:g} s is less than the {facts.silent_s:g} s ({facts.silent_s / 3600:.3g} h) after "
            f"which a device is silent (fleet.silent_s): take {facts.silent_s:g} or more"
        )
    return _why_too_few(rule, list(selected(rule, facts))) if "min_devices" in MEASURES[rule.measure].keys else ""


def _why_too_few(rule: Rule, chosen: list[Twin]) -> str:
    """For a ratio of devices: returns why there are too few of them; empty if there are enough."""
    if rule.by and not any(rule.by in twin.labels for twin in chosen):
        return f"none of {len(chosen)} devices has the label {rule.by}: leave `by` out, or label devices"
    sizes = Counter(twin.labels.get(rule.by, "") for twin in chosen) if rule.by else {"": len(chosen)}
    most = max(sizes.values())
    where = f"the largest group by {rule.by}" if rule.by else "the selection" if rule.selector else "the fleet"
    if most < rule.min_devices:
        missing = rule.min_devices - most
        return f"min_devices = {rule.min_devices}, and {where} has {most}: {missing} too few, so it cannot trip"
    if rule.measure != "rolled_back_ratio" or rule.above is None:
        return ""
    low, _ = wilson_interval(most, most)
    if low > rule.above:
        return ""
    needed = next(n for n in itertools.count(most) if wilson_interval(n, n)[0] > rule.above)
    return (
        f"{where} has {most} devices, and were all {most} rolled back, the lower end of the 95 % interval would be "
        f"{low:.3g}, which is not above {rule.above:g}: that takes {needed} devices"
    )


def _line(text: str, place: str) -> int:
    """Returns the line (from 1) of a place such as `rule[2].above`; of its table if the key is missing."""
    return line_of(text, f" - at `$.{place}`") or 1
