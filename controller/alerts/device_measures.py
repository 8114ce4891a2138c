"""The measures of devices that a rule may read: their presence, their reports about themselves, and expiries.

Decides which values exceed a limit, and the text of an alert. Refuses to know for how long a value has exceeded it.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator

from controller.alerts.facts import Facts, Reading
from controller.alerts.rule import Rule
from controller.fleet.expiry import DAY_S
from controller.fleet.twin import Twin

SOURCE_FAILS = frozenset({"waiting", "failing", "ended"})
"""The states of sensors and sinks that count as a failure. `waiting`: failed, and tried again after a pause."""


def offline_ratio(rule: Rule, facts: Facts) -> Iterator[Reading]:
    """The fraction of devices that are offline or silent, of the fleet or for each value of a label."""
    limit = above_of(rule)
    known, away = Counter[str](), Counter[str]()
    for twin in selected(rule, facts):
        word = twin.presence(facts.now, facts.silent_s)
        if word == "unknown" and facts.now - facts.started_at <= facts.silent_s:
            continue
        group = twin.labels.get(rule.by, "") if rule.by else ""
        known[group] += 1
        away[group] += word != "online"
    for group, n in sorted(known.items()):
        value = away[group] / n
        if n >= rule.min_devices and value > limit:
            labels = {rule.by: group} if rule.by else {}
            where = f" with {rule.by} = {group or 'none'}" if rule.by else ""
            most = math.floor(limit * n)
            yield Reading(
                labels, value, "ratio", limit, n, "devices",
                f"{away[group]} of {n} devices{where} are offline or silent",
                f"at most {most} of these {n} devices are offline or silent", "edgeward device list",
            )  # fmt: skip


def unheard_s(rule: Rule, facts: Facts) -> Iterator[Reading]:
    """For each device that is not online, the seconds since it was last heard."""
    limit = above_of(rule)
    for twin in selected(rule, facts):
        age_s = facts.now - max(twin.seen_at or 0.0, facts.started_at)
        if age_s <= limit:
            continue
        word = twin.presence(facts.now, facts.silent_s)
        if word != "online":
            yield _of_device(
                twin, (age_s, "s"), limit, f"{twin.device} is {word}, and was last heard {age_s:.0f} s ago",
                f"{twin.device} sends a heartbeat",
            )  # fmt: skip


def device_fault(rule: Rule, facts: Facts) -> Iterator[Reading]:
    """For each device and code, what is wrong with the device."""
    wanted = rule.selector.items()
    for device, faults in facts.faults().items():
        twin = facts.twins[device]
        for code, words in sorted(faults.items()):
            if (not rule.codes or code in rule.codes) and wanted <= twin.labels.items():
                yield _of_device(
                    twin,
                    (1.0, "faults"),
                    0.0,
                    f"{device}: {code}: {words}",
                    f"{device} no longer says {code}",
                    code=code,
                )


def clock_off_s(rule: Rule, facts: Facts) -> Iterator[Reading]:
    """For each device, the seconds by which its clock is ahead of the controller's or behind it."""
    limit = above_of(rule)
    for twin in selected(rule, facts):
        off_s = abs(twin.clock_off_s)
        if off_s > limit:
            side = "ahead of" if twin.clock_off_s > 0 else "behind"
            yield _of_device(
                twin, (off_s, "s"), limit, f"the clock of {twin.device} is {off_s:.0f} s {side} the controller's",
                f"the clock is off by at most {limit:g} s",
            )  # fmt: skip


def expiry_days(rule: Rule, facts: Facts) -> Iterator[Reading]:
    """For each certificate or role of a device or of the controller, the remaining days."""
    limit = below_of(rule)
    for twin in selected(rule, facts):
        left = (twin.expiries.get("certificate", math.inf) - facts.now) / DAY_S
        if left < limit:
            clears = f"{twin.device} has a certificate that ends in {limit:g} days or later"
            yield _of_device(twin, (left, "days"), limit, _ends(f"the certificate of {twin.device}", left), clears)
    if not rule.selector:
        for what, end in sorted(facts.own_expiries.items()):
            left = (end - facts.now) / DAY_S
            if left < limit:
                yield Reading(
                    {"subject": "controller", "what": what}, left, "days", limit, 1, "dates",
                    _ends(f"the controller's {what}", left), f"it is renewed for {limit:g} days or more",
                    "edgeward trust status" if what.startswith("role") else "edgeward certificate list",
                )  # fmt: skip


def sensor_failing(rule: Rule, facts: Facts) -> Iterator[Reading]:
    """The value 1 for each sensor whose source has failed or ended."""
    for twin in selected(rule, facts):
        for each in twin.sensors:
            if each.state in SOURCE_FAILS:
                words = f"{each.name} of {twin.device} is {each.state}: {each.error or 'no more rows come'}"
                yield _of_device(twin, (1.0, "sensors"), 0.0, words, f"{each.name} is running", sensor=each.name)


def sensor_row_age_s(rule: Rule, facts: Facts) -> Iterator[Reading]:
    """For each sensor of a device that is online, the seconds since its newest row."""
    limit = above_of(rule)
    for twin in selected(rule, facts):
        for each in twin.sensors:
            age_s = each.row_age_s or 0.0
            if age_s > limit and twin.presence(facts.now, facts.silent_s) == "online":
                yield _of_device(
                    twin, (age_s, "s"), limit, f"{each.name} of {twin.device} gave its last row {age_s:.0f} s ago",
                    f"{each.name} gives a row", sensor=each.name,
                )  # fmt: skip


def sink_failing(rule: Rule, facts: Facts) -> Iterator[Reading]:
    """The value 1 for each sink that has failed or ended: it takes no predictions."""
    for twin in selected(rule, facts):
        for each in twin.sinks:
            if each.state in SOURCE_FAILS:
                words = f"{each.name} of {twin.device} is {each.state}: {each.error or 'it takes nothing'}"
                yield _of_device(twin, (1.0, "sinks"), 0.0, words, f"{each.name} takes predictions", sink=each.name)


def vitals_departure(rule: Rule, facts: Facts) -> Iterator[Reading]:
    """For each device whose vitals depart from what is usual for it, by how many times the watcher's threshold."""
    limit, wanted = 1.0 if rule.above is None else rule.above, rule.selector.items()
    for each in facts.departures:
        twin = facts.twins.get(each.device)
        if twin is not None and each.times > limit and wanted <= twin.labels.items():
            clears = f"its score is at most {limit:g} times the watcher's threshold"
            yield Reading(
                {**twin.labels, "device": twin.device}, each.times, "thresholds", limit,
                each.past_h, "hours of its past", f"{twin.device}: {each.says}", clears,
                f"edgeward device vitals {twin.device}",
            )  # fmt: skip


def selected(rule: Rule, facts: Facts) -> Iterable[Twin]:
    """The twins of the devices that a rule is about."""
    wanted = rule.selector.items()
    if not wanted:
        return facts.twins.values()
    return (twin for twin in facts.twins.values() if wanted <= twin.labels.items())


def _of_device(twin: Twin, value: tuple[float, str], limit: float, detail: str, clears: str, **labels: str) -> Reading:
    about = {**twin.labels, "device": twin.device, **labels}
    return Reading(about, *value, limit, 1, "devices", detail, clears, f"edgeward device show {twin.device}")


def _ends(what: str, left_days: float) -> str:
    return f"{what} ends in {left_days:.1f} days" if left_days > 0 else f"{what} ended {-left_days:.1f} days ago"


def above_of(rule: Rule) -> float:
    """The limit of a rule whose measure has an upper one."""
    assert rule.above is not None  # `check` refuses a rule without it
    return rule.above


def below_of(rule: Rule) -> float:
    """The limit of a rule whose measure has a lower one."""
    assert rule.below is not None  # `check` refuses a rule without it
    return rule.below
