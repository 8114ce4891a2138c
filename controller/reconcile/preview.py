"""The plan of a rollout for the current fleet: devices by wave, excluded devices with reasons, and costs.

Pure: the preview, the start and the simulator call the same function, so a preview equals the run. Refuses to know what
happens after the start.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from msgspec.structs import replace

from contract.errors import BadInput, Code
from contract.interface import interface_change
from contract.manifest import Manifest
from contract.messages import ModelInterval
from contract.wire import Message
from controller.fleet.fit import forms_of
from controller.fleet.pin import pinned_among
from controller.fleet.selection import select
from controller.fleet.twin import Twin
from controller.reconcile.measured import HISTORY_S, fleet_rows
from controller.reconcile.membership import confirmed_versions, facts_of, fitted, marked, quiet_of, why_no_way_back
from controller.reconcile.offers import delivery_for
from controller.reconcile.world import World
from controller.rollout.check import check_power, check_strategy, check_task, only_for
from controller.rollout.decide import unproven
from controller.rollout.endings import named
from controller.rollout.facts import DeviceFact
from controller.rollout.model import DEVICE_METRICS, Member, Metric, Rollout, Rule, Strategy
from controller.rollout.plan import expand, plan_members
from controller.rollout.power import (
    Shown,
    alone,
    count_in,
    judged_for_s,
    past_of,
    power_of,
    shown_of,
    why_it_cannot_trip,
)
from controller.rollout.progress import NOBODY_AWAY, Away, away_words, offering_s
from controller.rollout.schedule import ALWAYS, Schedule, check_schedule
from controller.rollout.stuck import COMPARED_AT_ONCE
from controller.rollout.words import devices_of, span

NEEDS_OTHERS: frozenset[Metric] = COMPARED_AT_ONCE | {"latency_ratio_p95"}
"""Metrics that say nothing about a device without others of its kind beside it. Failures can be judged alone."""


class WavePreview(Message, frozen=True):
    """The plan of one wave."""

    wave: int
    """Counted from 0; people count from 1."""
    mode: str
    devices: int
    strata: dict[str, int]
    soak_s: float
    hold: bool


class Preview(Message, frozen=True):
    """The effects of a rollout that would start now."""

    model: str
    release: int
    strategy: str
    plan_digest: str
    """`edgeward rollout start --plan DIGEST` starts this plan or nothing."""
    devices: int
    waves: tuple[WavePreview, ...]
    excluded: dict[str, str]
    """The reason by device."""
    variants: dict[str, int]
    """The number of devices that get the release in a smaller form, by the form's name."""
    bytes_to_send: int
    finish_s: float
    """The earliest end in seconds from the start: the rate of offers and the soak times, without the time of
    transfers."""
    finish_low_s: float
    finish_high_s: float
    """The range in seconds in which it is expected to end, from the usual online hours of devices that are offline."""
    power: tuple[str, ...]
    """One sentence for each rule: the difference that it can detect in the first wave."""
    no_way_back: dict[str, str]
    """Devices that have no stable version to roll back to, with the reason: they run none yet, or the registry lacks
    it."""
    unproven: tuple[str, ...]
    """Devices that have not shown since their boot that their stable version is complete."""
    pinned: tuple[str, ...] = ()
    """Devices among `excluded` that a pin holds at another release."""
    warnings: tuple[str, ...] = ()
    """Sentences for the person who starts it."""


def plan_rollout(
    world: World,
    manifest: Manifest,
    strategy: Strategy,
    *,
    name: str,
    model: str,
    selector: dict[str, str],
    now: float,
    running: Mapping[int, Manifest] = {},
    schedule: Schedule = ALWAYS,
    among: tuple[str, ...] = (),
) -> Rollout:
    """Returns the rollout as it would start; `running` holds the releases that devices may run now.

    BadInput `strategy_invalid`, `selector_empty`, `nothing_fits`, `signature_changed`.
    """
    check_strategy(strategy)
    check_task(strategy, manifest.task)
    check_schedule(schedule, now)
    twins = world.durable.twins
    devices = select((twins[each] for each in among if each in twins) if among else twins.values(), selector)
    _check_interface(world, manifest, strategy, (model, devices), running)
    forms = forms_of(manifest)
    targets, excluded = fitted(world, (world.durable.twins[device] for device in devices), model, forms, strategy)
    if not targets:
        device, reason = next(iter(excluded.items()))
        raise BadInput(Code.NOTHING_FITS, f"none of {len(devices)} devices can run it; {device}: {reason.words}")
    expanded = expand(strategy, targets)
    order = f"{model} v{manifest.release}"
    planned_members = plan_members(order, targets, expanded, confirmed_versions(world, model, devices))
    members = marked(world, model, planned_members)
    check_power(expanded, members)
    planned = Rollout(
        id=name,
        model=model,
        release=manifest.release,
        digest=manifest.artifact.sha256,
        strategy=expanded,
        members=members,
        selector=selector,
        excluded=excluded,
        forms=forms,
        schedule=schedule,
        among=among,
        began_at=now,
        wave_began_at=now,
    )
    refuse_powerless(world, planned, now)
    return planned


def _check_interface(
    world: World, manifest: Manifest, strategy: Strategy, about: tuple[str, list[str]], running: Mapping[int, Manifest]
) -> None:
    """Raises BadInput `signature_changed` if the release would refuse callers of what devices run now."""
    if strategy.trial.signature == "may_change":
        return
    model, devices = about
    stable = Counter(version.release for version in confirmed_versions(world, model, devices).values())
    for release, count in sorted(stable.items()):
        before = running.get(release)
        if before is not None and (words := interface_change(before, manifest)):
            raise BadInput(
                Code.SIGNATURE_CHANGED,
                f"{words}: so v{manifest.release} refuses callers of v{release}, which {count} devices run. Push one "
                'that takes the same, or set signature = "may_change" under [trial] once callers are ready',
            )


def preview(world: World, rollout: Rollout, now: float, away: Away = NOBODY_AWAY, *, task: str = "") -> Preview:
    """Returns the plan in figures; `away` says when devices that are not online may be back, `task` what the release
    answers, if that is known.
    """
    finish_s = sum(_wave_s(rollout, wave) for wave in range(rollout.final_wave + 1))
    facts = facts_of(world, rollout, now)
    held = {
        device
        for device, fact in facts.items()
        if fact.state is not None and fact.state.stable is not None and rollout.carries(fact.state.stable.digest)
    }
    needing = [member for member in rollout.members if member.device not in held]
    names = {form.digest: form.name for form in rollout.forms}
    return Preview(
        model=rollout.model,
        release=rollout.release,
        strategy=rollout.strategy.name,
        plan_digest=rollout.plan_digest,
        devices=len(rollout.members),
        waves=tuple(_waves(rollout)),
        excluded={device: reason.words for device, reason in rollout.excluded.items()},
        bytes_to_send=sum(bytes_for(world, rollout, member) for member in needing),
        variants=dict(Counter(name for member in rollout.members if (name := names.get(rollout.digest_for(member))))),
        finish_s=finish_s,
        finish_low_s=finish_s + away.low_s,
        finish_high_s=finish_s + away.high_s,
        power=tuple(_power(world, rollout, now, task)),
        no_way_back={
            member.device: why_no_way_back(world, rollout.model, member.device)
            for member in rollout.members
            if not member.previous_release
        },
        unproven=tuple(unproven(replace(rollout, wave=-1), facts)),
        pinned=tuple(pinned_among(rollout.excluded)),
        warnings=(*_warnings(world, rollout, facts), *filter(None, (away_words(away),))),
    )


def _warnings(world: World, rollout: Rollout, facts: Mapping[str, DeviceFact]) -> Iterable[str]:
    """Warns of a trial that gets no requests, and of devices that are offline."""
    first = [member for member in rollout.members if member.wave == 0]
    quiet = sorted(quiet_of(world, rollout, wave=0))
    if quiet:
        needed = int(rollout.strategy.trial.min_samples)
        so = f"a trial needs {needed} inferences before it can pass" if needed else "rules about inferences say nothing"
        who = named(quiet) if len(quiet) < len(first) else "a device"
        yield f"nobody asks {who} of the first wave for {rollout.model} now, and no sensor feeds it: {so}"
    absent = [each.device for each in first if facts[each.device].presence != "online"]
    if absent:
        yield f"{len(absent)} of {devices_of(len(first))} of the first wave are not online: {named(absent)}"


def bytes_for(world: World, rollout: Rollout, member: Member) -> int:
    """Returns the bytes that one device receives: the artifact in its smallest encoding for that device, and the golden
    set.
    """
    digest, twin = rollout.digest_for(member), world.durable.twins.get(member.device) or Twin(member.device)
    form = next((form for form in rollout.forms if form.digest == digest), None)
    if form is None:
        return 0
    delivery = delivery_for(world, twin, rollout.model, digest)
    return form.golden_bytes + (form.artifact_bytes if delivery is None else delivery.blob.length)


def _waves(rollout: Rollout) -> Iterable[WavePreview]:
    for number, wave in enumerate(rollout.strategy.waves):
        strata = Counter(member.stratum for member in rollout.members if member.wave == number)
        yield WavePreview(
            wave=number,
            mode=wave.mode,
            devices=strata.total(),
            strata=dict(sorted(strata.items())),
            soak_s=wave.soak_s,
            hold=wave.hold,
        )


def _wave_s(rollout: Rollout, wave: int) -> float:
    strategy = rollout.strategy
    return offering_s(rollout, wave) + float(strategy.trial.soak_s) + strategy.waves[wave].soak_s


def _power(world: World, rollout: Rollout, now: float, task: str) -> Iterable[str]:
    lonely = _lonely(rollout)
    for rule, first, beside, shown in _measured_rules(world, rollout, lonely, now):
        if only := only_for(rule.metric, task):
            yield f"{rule.title}: only for {only}: it is not judged here"
        elif shown is None:
            yield f"{rule.title}: {_of_devices(rule, first)}"
        elif lonely and not first and rule.metric in NEEDS_OTHERS:
            yield f"{rule.title}: {alone(rule, len(lonely))}"
        else:
            tests = len({member.stratum for member in rollout.members}) if rule.scope == "stratum" else 1
            collects_s = judged_for_s(rule, _soak_s(rollout))
            words = f"; not counted, because none of their kind is beside them: {named(lonely)}"
            left_out = words if lonely and rule.metric in NEEDS_OTHERS else ""
            yield f"{rule.title}: {power_of(rule, first, beside, collects_s, shown=shown, tests=tests)}{left_out}"


def refuse_powerless(world: World, rollout: Rollout, now: float) -> None:
    """Raises BadInput `strategy_invalid` for a rule that not even the worst release could trip on this fleet, or whose
    name is unknown.
    """
    lonely = _lonely(rollout)
    for rule, first, beside, shown in _measured_rules(world, rollout, lonely, now):
        collects_s = judged_for_s(rule, _soak_s(rollout))
        if shown is not None and shown.lacks == "name" and rule.on_missing == "wait":
            raise BadInput(Code.STRATEGY_INVALID, _unknown(world, rollout, rule))
        if shown is not None and not first and rule.metric in NEEDS_OTHERS and rule.on_missing == "wait":
            raise BadInput(Code.STRATEGY_INVALID, f"rule {rule.title} can never pass: {alone(rule, len(lonely))}")
        if shown is not None and (words := why_it_cannot_trip(rule, first, beside, collects_s, shown=shown)):
            raise BadInput(Code.STRATEGY_INVALID, words)
        if shown is not None and shown.lacks == "mean":
            words = f'rule {rule.title}: the mean of {rule.name} is not above 0 here: set change = "absolute"'
            raise BadInput(Code.STRATEGY_INVALID, words)


def _unknown(world: World, rollout: Rollout, rule: Rule) -> str:
    """Says why a rule with this name would wait forever, and which names exist."""
    if rule.metric == "class_share":
        of_model = (answers for (model, _), answers in world.measured.predictions.items() if model == rollout.model)
        what, known = f'answered "{rule.name}"', {name for answers in of_model for name in answers}
    else:
        sums = (each for (_, model, _), each in world.measured.totals.items() if model == rollout.model)
        what, known = f"reported a number named {rule.name}", {name for each in sums for name in each.metrics}
    names = f"known are {named(sorted(known))}" if known else "nothing of the kind is known of them"
    return (
        f"rule {rule.title}: no device of this rollout has {what} in the newest {span(HISTORY_S)}, and {names}; "
        'correct the name, or set on_missing = "skip" if it comes later'
    )


def _measured_rules(
    world: World, rollout: Rollout, lonely: Sequence[str], now: float
) -> Iterable[tuple[Rule, int, int, Shown | None]]:
    """Yields (rule, devices of the first wave, control devices, measurements of the fleet), None for rules about
    devices. A rule that needs others counts the devices that have some of their kind beside them, so none of `lonely`.
    """
    everyone = Counter(member.wave == 0 for member in rollout.members)
    kinds = {member.device: member.stratum for member in rollout.members}
    first_kinds = {member.stratum for member in rollout.members if member.wave == 0}
    past = None
    for rule in rollout.strategy.rules:
        first, beside = everyone[True], everyone[False]
        if rule.metric in DEVICE_METRICS:
            yield rule, first, beside, None
            continue
        if rule.metric in NEEDS_OTHERS and lonely:
            first -= len(lonely)
            beside = sum(member.wave > 0 and member.stratum in first_kinds for member in rollout.members)
        if past is None:
            past = past_of(fleet_rows(world, rollout, now).table(), kinds)
        shown = shown_of(rule, past, judged_for_s(rule, _soak_s(rollout)))
        if not shown.per_hour:
            shown = replace(shown, per_hour=3600.0 * _samples_per_s(world, rollout, partial(count_in, rule)))
        yield rule, first, beside, shown


def _lonely(rollout: Rollout) -> list[str]:
    """Returns devices of the first wave that have none of their kind beside them, unless both versions run on each."""
    trial, mode = rollout.strategy.trial, rollout.strategy.waves[0].mode
    if mode == "shadow" or trial.reverse_share > 0 or trial.traffic_share < 1:
        return []
    later = {member.stratum for member in rollout.members if member.wave > 0}
    return [member.device for member in rollout.members if member.wave == 0 and member.stratum not in later]


def _of_devices(rule: Rule, first: int) -> str:
    trips = int(rule.threshold * first) + 1
    if trips > first:
        return f"{devices_of(first)}: it cannot fail in the first wave"
    return f"{devices_of(first)}: fails from {trips} {_WORDS[rule.metric]} {'device' if trips == 1 else 'devices'} on"


_WORDS: Mapping[Metric, str] = {
    "failed_ratio": "failed",
    "rejected_ratio": "rejecting",
    "silent_ratio": "silent",
}


def _soak_s(rollout: Rollout) -> float:
    return float(rollout.strategy.trial.soak_s) + rollout.strategy.waves[0].soak_s


def _samples_per_s(world: World, rollout: Rollout, count: Callable[[ModelInterval], int]) -> float:
    """Returns the samples per second, as `count` finds them, from one device of the first wave, by its newest
    telemetry.
    """
    rates: list[float] = [
        sum(count(each) for each in known.newest.intervals if each.model == rollout.model) / known.newest.interval_s
        for member in rollout.members
        if member.wave == 0 and (known := world.measured.traffic.get(member.device)) and known.newest.interval_s > 0
    ]
    return sum(rates) / max(sum(member.wave == 0 for member in rollout.members), 1)
