"""``decide(rollout, facts, cells, now)``: what is missing between what is and what the rollout wants.

It never remembers what it did: called again with the same facts it asks for the same again, and for nothing once the
facts have changed. At most one change of status or wave a pass. A controller that dies needs no recovery of decisions.
"""

from collections.abc import Mapping

import msgspec

from controller.rollout.analysis import RuleVerdict, judge_all
from controller.rollout.facts import Cells, DeviceFact
from controller.rollout.model import Member, Rollout, Status
from controller.rollout.outcome import MemberOutcome, mode_of, outcome_of, retry_at
from controller.rollout.pace import due

ABSENT_S = 300.0
"""A roll back waits so long for devices that are silent, or of which nothing has been heard: a controller that has just
started has heard nobody yet, and several heartbeats fit in. It waits for none that is offline."""

Facts = Mapping[str, DeviceFact]
Outcomes = Mapping[str, MemberOutcome]


class Offer(msgspec.Struct, frozen=True):
    """An order to a device to run a release; 0: to run none."""

    device: str
    model: str
    release: int
    mode: str = "serve"
    attempt: int = 1


class Decision(msgspec.Struct, frozen=True):
    """What to do now, and the rollout as it stands then."""

    rollout: Rollout
    offers: tuple[Offer, ...] = ()
    verdicts: tuple[RuleVerdict, ...] = ()
    quarantined: tuple[str, ...] = ()
    """Devices on which the release has failed for good: no other rollout offers it to them."""


def decide(rollout: Rollout, facts: Facts, cells: Cells, now: float) -> Decision:
    """One pass over one rollout. `facts` holds every member; once it has completed, the late ones are enough."""
    match rollout.status:
        case "proposed" | "aborted" | "rolled_back":
            return Decision(rollout)
        case "completed":
            return Decision(rollout, _late_offers(rollout, facts))
        case "rolling_back":
            return _return_all(rollout, facts, "rolled_back", now)
        case "aborting":
            return _return_all(rollout, facts, "aborted", now)
        case "running" | "paused":
            return _go_on(rollout, facts, cells, now)


def _go_on(rollout: Rollout, facts: Facts, cells: Cells, now: float) -> Decision:
    outcomes = {member.device: outcome_of(rollout, member, facts[member.device], now) for member in rollout.members}
    verdicts = judge_all(rollout, cells, outcomes, now)
    bad = tuple(device for device, word in outcomes.items() if word in ("failed", "rejected"))
    found = Decision(rollout, _stopped_offers(rollout, facts), verdicts, bad)
    if (tripped := _tripped(rollout, verdicts)) is not None:
        return _with(found, rollout=tripped)
    if rollout.status == "paused":
        return found
    return _advance(found, facts, outcomes, now)


def _with(decision: Decision, **changes: object) -> Decision:
    return msgspec.structs.replace(decision, **changes)


def _tripped(rollout: Rollout, verdicts: tuple[RuleVerdict, ...]) -> Rollout | None:
    """The rollout after the first rule that failed and that has anything left to do."""
    for verdict in verdicts:
        if verdict.word == "fail":
            after = _after_trip(rollout, verdict)
            if after is not None:
                return after
    return None


_STATUS_AFTER: dict[str, Status] = {"pause": "paused", "abort": "aborting", "roll_back": "rolling_back"}


def _after_trip(rollout: Rollout, verdict: RuleVerdict) -> Rollout | None:
    where = f" on {verdict.stratum}" if verdict.stratum else ""
    reason, change = f"{verdict.metric}{where}: {verdict.detail}", msgspec.structs.replace
    match rollout.strategy.rules[verdict.rule].on_fail:
        case "roll_back_stratum" if verdict.stratum:
            stopped = (*rollout.stopped_strata, verdict.stratum)
            if {member.stratum for member in rollout.members} <= set(stopped):
                return change(rollout, status="rolling_back", reason=reason)
            return change(rollout, stopped_strata=stopped, reason=reason)
        case "roll_back_wave" if rollout.wave not in rollout.stopped_waves:
            return change(rollout, status="paused", stopped_waves=(*rollout.stopped_waves, rollout.wave), reason=reason)
        case "pause" | "roll_back_wave" if rollout.status == "paused":
            return None
        case on_fail:
            return change(rollout, status=_STATUS_AFTER.get(on_fail, "rolling_back"), reason=reason)


def _advance(found: Decision, facts: Facts, outcomes: Outcomes, now: float) -> Decision:
    rollout = found.rollout
    turn = [member for member in rollout.members if member.wave <= rollout.wave]
    offers = _due_offers(rollout, turn, facts, outcomes, now)
    if offers or any(outcomes[member.device] == "pending" for member in turn):
        undone = msgspec.structs.replace(rollout, wave_done_at=None)
        return _with(found, rollout=undone, offers=found.offers + offers)
    if rollout.wave_done_at is None:
        return _with(found, rollout=msgspec.structs.replace(rollout, wave_done_at=now))
    if not _may_end_wave(rollout, found.verdicts, now):
        return found
    if rollout.wave >= rollout.final_wave:
        return _with(found, rollout=msgspec.structs.replace(rollout, status="completed"))
    if rollout.strategy.preflight and rollout.wave == 0 and unproven(rollout, facts):
        return found
    promoted = msgspec.structs.replace(rollout, wave=rollout.wave + 1, wave_began_at=now, wave_done_at=None)
    return _with(found, rollout=promoted)


def _may_end_wave(rollout: Rollout, verdicts: tuple[RuleVerdict, ...], now: float) -> bool:
    """Whether the wave has soaked, every rule passes and nothing holds it, or an operator has ended it."""
    if rollout.promoted >= rollout.wave:
        return True
    wave = rollout.strategy.waves[rollout.wave]
    soaked = rollout.wave_done_at is not None and now - rollout.wave_done_at >= wave.soak_s
    return soaked and not wave.hold and all(verdict.word == "pass" for verdict in verdicts)


def unproven(rollout: Rollout, facts: Facts) -> list[str]:
    """Devices of later waves that have a way back and have not shown since they booted that it is whole."""
    found = []
    for member in rollout.members:
        fact = facts[member.device]
        state = fact.state
        waits = member.wave > rollout.wave and fact.presence == "online" and not rollout.is_stopped(member)
        if waits and state is not None and state.stable is not None and not state.stable_proven:
            found.append(member.device)
    return found


def _due_offers(
    rollout: Rollout, turn: list[Member], facts: Facts, outcomes: Outcomes, now: float
) -> tuple[Offer, ...]:
    """The offers that are due now: first offers at the wave's pace, other modes, and later attempts."""
    mode, untold, offers, under_way, told = mode_of(rollout), [], [], 0, 0
    for member in turn:
        fact, pending = facts[member.device], outcomes[member.device] == "pending"
        if _release_of(fact) != rollout.release:
            untold += [member.device] if pending else []
            continue
        told += member.wave == rollout.wave
        if not pending:
            continue
        if fact.assigned is not None and fact.assigned.mode != mode:
            offers.append(Offer(member.device, rollout.model, rollout.release, mode))
        elif (at := retry_at(rollout, fact)) is not None and fact.assigned is not None:
            room = not rollout.strategy.max_concurrent or under_way + len(offers) < rollout.strategy.max_concurrent
            if now >= at and room:
                offers.append(Offer(member.device, rollout.model, rollout.release, mode, fact.assigned.attempt + 1))
        else:
            under_way += 1
    first = due(rollout, untold, told=told, under_way=under_way + len(offers), now=now)
    return (*offers, *(Offer(device, rollout.model, rollout.release, mode) for device in first))


def _stopped_offers(rollout: Rollout, facts: Facts) -> tuple[Offer, ...]:
    """The way back for strata and waves that were taken out."""
    return _back(rollout, [member for member in rollout.members if rollout.is_stopped(member)], facts)


def _late_offers(rollout: Rollout, facts: Facts) -> tuple[Offer, ...]:
    """A rollout that has completed still reaches devices that join later."""
    return tuple(
        Offer(member.device, rollout.model, rollout.release)
        for member in rollout.members
        if member.late and not rollout.is_stopped(member) and _is_untold(facts[member.device])
    )


def _is_untold(fact: DeviceFact) -> bool:
    return fact.assigned is None and not fact.retired


def _return_all(rollout: Rollout, facts: Facts, end: Status, now: float) -> Decision:
    """Sends every device back to its last confirmed release, as a new and higher generation.

    Done when every device that it waits for says so. The others find the document, which is retained, when they come.
    """
    offers = _back(rollout, _returning(rollout, facts), facts)
    if rollout.returning_since is None:
        rollout = msgspec.structs.replace(rollout, returning_since=now)
    if offers or awaited(rollout, facts, now):
        return Decision(rollout, offers)
    return Decision(msgspec.structs.replace(rollout, status=end, returning_since=None))


def awaited(rollout: Rollout, facts: Facts, now: float) -> list[str]:
    """Devices that have the release and for whose way back the rollout waits: no longer than its deadline."""
    waited_s = now - (now if rollout.returning_since is None else rollout.returning_since)
    return [
        member.device
        for member in _returning(rollout, facts)
        if _holds(rollout, facts[member.device]) and waited_s <= _patience_s(rollout, facts[member.device])
    ]


def waits_for_absentees_only(rollout: Rollout, facts: Facts, now: float) -> bool:
    """Whether every device was told to go back and none of those that are there is still to do it."""
    told = rollout.returning_since is not None and not _back(rollout, _returning(rollout, facts), facts)
    return told and all(facts[device].presence != "online" for device in awaited(rollout, facts, now))


def _patience_s(rollout: Rollout, fact: DeviceFact) -> float:
    match fact.presence:
        case "online":
            return rollout.strategy.deadline_s
        case "offline":
            return -1.0
        case _:
            return min(ABSENT_S, rollout.strategy.deadline_s)


def _returning(rollout: Rollout, facts: Facts) -> list[Member]:
    """Members that go back: all whose turn had come; of an aborted rollout those that have not confirmed."""
    keeps = rollout.status == "aborting"
    return [
        member
        for member in rollout.members
        if member.wave <= rollout.wave and not (keeps and _has_confirmed(rollout, facts[member.device]))
    ]


def _back(rollout: Rollout, members: list[Member], facts: Facts) -> tuple[Offer, ...]:
    return tuple(
        Offer(member.device, rollout.model, member.previous_release)
        for member in members
        if _release_of(facts[member.device]) == rollout.release
    )


def _release_of(fact: DeviceFact) -> int:
    return fact.assigned.release if fact.assigned is not None else 0


def _has_confirmed(rollout: Rollout, fact: DeviceFact) -> bool:
    stable = fact.state.stable if fact.state is not None else None
    return stable is not None and rollout.carries(stable.digest)


def _holds(rollout: Rollout, fact: DeviceFact) -> bool:
    """Whether the release serves or is tried on the device, or would be after a reboot."""
    if fact.state is None:
        return False
    kept = [each.digest for each in (fact.state.stable, fact.state.trial) if each is not None]
    return any(rollout.carries(digest) for digest in (fact.state.serving, *kept))
