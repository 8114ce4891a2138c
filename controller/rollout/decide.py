"""``decide(rollout, facts, rows, now)``: the next actions, so that devices run the release of the rollout.

Decides offers, and at most one change of status or wave for each pass. It keeps no state: the same facts give the
same decision again, and facts that show an offer as done give no such offer. After a restart nothing must be
recovered. Refuses to know how offers travel.
"""

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from controller.rollout.analysis import judge_all
from controller.rollout.endings import Ending, Endings, ending_of, named_failures
from controller.rollout.facts import DeviceFact
from controller.rollout.model import RETURNING, Member, Rollout, Status
from controller.rollout.outcome import DECIDED, MemberOutcome, mode_of, outcome_of, retry_at
from controller.rollout.pace import due
from controller.rollout.pinned import is_left_alone, may_have
from controller.rollout.rows import Rows
from controller.rollout.schedule import allows, opens_in_s
from controller.rollout.verdict import HOLDS_NOTHING_UP, RuleVerdict

ABSENT_S = 300.0
"""Seconds that a roll back waits for devices that are silent or have not reported yet. A controller that has just
started has no reports yet; several heartbeats arrive in this time. It does not wait for a device that is offline."""

Facts = Mapping[str, DeviceFact]
Outcomes = Mapping[str, MemberOutcome]
NO_ENDINGS: Endings = MappingProxyType({})


class Offer(msgspec.Struct, frozen=True):
    """An order to a device to run a release. Release 0: the device must run no version of the model."""

    device: str
    model: str
    release: int
    mode: str = "serve"
    attempt: int = 1


class Decision(msgspec.Struct, frozen=True):
    """What to do now, and the rollout after that."""

    rollout: Rollout
    offers: tuple[Offer, ...] = ()
    verdicts: tuple[RuleVerdict, ...] = ()
    quarantined: tuple[str, ...] = ()
    """Devices on which the release has failed permanently: no other rollout offers it to them."""
    endings: Mapping[str, Ending] = {}
    """The outcome to store for each device for which it is new."""


def decide(rollout: Rollout, facts: Facts, rows: Rows, now: float, endings: Endings = NO_ENDINGS) -> Decision:
    """Makes one pass over one rollout. `facts` holds every member; for a completed rollout, late members are enough.

    `endings` are those that are stored.
    """
    if rollout.status in ("proposed", "aborted", "rolled_back"):
        return Decision(rollout)
    outcomes = _outcomes(rollout, facts, now)
    new = _new_endings(rollout, facts, outcomes, endings)
    kept = {**endings, **new} if new else endings
    decision = _decide(rollout, facts, rows, now, outcomes=outcomes, endings=kept)
    allowed = tuple(offer for offer in decision.offers if may_have(facts[offer.device], offer.release))
    return _with(decision, endings=new, offers=allowed) if new or allowed != decision.offers else decision


def _decide(
    rollout: Rollout, facts: Facts, rows: Rows, now: float, *, outcomes: Outcomes, endings: Endings
) -> Decision:
    match rollout.status:
        case "completed":
            return Decision(rollout, _late_offers(rollout, facts))
        case "rolling_back":
            return _return_all(rollout, facts, "rolled_back", now)
        case "aborting":
            return _return_all(rollout, facts, "aborted", now)
        case _:
            return _go_on(rollout, facts, rows, now, outcomes=outcomes, endings=endings)


def _go_on(rollout: Rollout, facts: Facts, rows: Rows, now: float, *, outcomes: Outcomes, endings: Endings) -> Decision:
    verdicts = judge_all(rollout, rows, outcomes, now)
    bad = tuple(device for device, word in outcomes.items() if word in ("failed", "rejected"))
    found = Decision(rollout, _stopped_offers(rollout, facts), verdicts, bad)
    if (tripped := _tripped(rollout, verdicts, endings)) is not None:
        return _with(found, rollout=tripped)
    if rollout.status == "paused":
        return found
    if opens_in_s(rollout.schedule, now) is None and "pending" in outcomes.values():
        reason = "its schedule has ended before every device had its turn"
        return _with(found, rollout=msgspec.structs.replace(rollout, status="paused", reason=reason))
    return _advance(found, facts, outcomes, now)


def _with(decision: Decision, **changes: object) -> Decision:
    return msgspec.structs.replace(decision, **changes)


def _outcomes(rollout: Rollout, facts: Facts, now: float) -> Outcomes:
    """Returns the outcome of each member with facts."""
    return {
        member.device: outcome_of(rollout, member, facts[member.device], now)
        for member in rollout.members
        if member.device in facts
    }


def _new_endings(rollout: Rollout, facts: Facts, outcomes: Outcomes, known: Endings) -> dict[str, Ending]:
    """Returns the endings that differ from the stored ones. During a rollout, undecided members are not
    checked twice.
    """
    looked_at = DECIDED | {"stopped"} if rollout.status not in RETURNING else None
    found = {}
    for member in rollout.members:
        word, kept = outcomes.get(member.device), known.get(member.device)
        if word is None or (looked_at is not None and word not in looked_at):
            continue
        ending = ending_of(rollout, member, facts[member.device], word, kept)
        if ending is not None:
            found[member.device] = ending
    return found


def _tripped(rollout: Rollout, verdicts: tuple[RuleVerdict, ...], endings: Endings) -> Rollout | None:
    """Returns the rollout after the first failed rule that still has an effect."""
    for verdict in verdicts:
        if verdict.word == "fail":
            after = _after_trip(rollout, verdict, named_failures(rollout, endings, verdict.stratum))
            if after is not None:
                return after
    return None


_STATUS_AFTER: dict[str, Status] = {"pause": "paused", "abort": "aborting", "roll_back": "rolling_back"}


def _after_trip(rollout: Rollout, verdict: RuleVerdict, failures: str) -> Rollout | None:
    where = f" on {verdict.stratum}" if verdict.stratum else ""
    who = f"; failed: {failures}" if failures else ""
    reason, change = f"{verdict.metric}{where}: {verdict.detail}{who}", msgspec.structs.replace
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
    if rollout.wave < rollout.final_wave and waits_for_proof(rollout, facts):
        return found
    return _with(found, rollout=after_wave(rollout, now))


def after_wave(rollout: Rollout, now: float) -> Rollout:
    """Returns the rollout after the end of its wave: in the next wave, or completed."""
    if rollout.wave >= rollout.final_wave:
        return msgspec.structs.replace(rollout, status="completed")
    return msgspec.structs.replace(rollout, wave=rollout.wave + 1, wave_began_at=now, wave_done_at=None)


def waits_for_proof(rollout: Rollout, facts: Facts) -> list[str]:
    """Returns devices that must prove before the second wave that they could roll back; none if that is not
    required.
    """
    return unproven(rollout, facts) if rollout.strategy.preflight and rollout.wave == 0 else []


def _may_end_wave(rollout: Rollout, verdicts: tuple[RuleVerdict, ...], now: float) -> bool:
    """Tells whether the wave may end: promoted by an operator, or soaked, not held, and not delayed by a rule."""
    if rollout.promoted >= rollout.wave:
        return True
    wave = rollout.strategy.waves[rollout.wave]
    soaked = rollout.wave_done_at is not None and now - rollout.wave_done_at >= wave.soak_s
    return soaked and not wave.hold and all(verdict.word in HOLDS_NOTHING_UP for verdict in verdicts)


def unproven(rollout: Rollout, facts: Facts) -> list[str]:
    """Returns online devices of later waves whose stable version has not been verified since they booted."""
    found = []
    for member in rollout.members:
        fact = facts[member.device]
        state = fact.state
        stays = rollout.is_stopped(member) or is_left_alone(rollout, member, fact)
        waits = member.wave > rollout.wave and fact.presence == "online" and not stays
        if waits and state is not None and state.stable is not None and not state.stable_proven:
            found.append(member.device)
    return found


def _due_offers(
    rollout: Rollout, turn: list[Member], facts: Facts, outcomes: Outcomes, now: float
) -> tuple[Offer, ...]:
    """Returns the offers that are due now: first offers at the wave's pace, changes of mode, and new attempts."""
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
    if not allows(rollout.schedule, now):
        return tuple(offer for offer in offers if offer.attempt == 1)  # no new update begins
    first = due(rollout, untold, told=told, under_way=under_way + len(offers), now=now)
    return (*offers, *(Offer(device, rollout.model, rollout.release, mode) for device in first))


def _stopped_offers(rollout: Rollout, facts: Facts) -> tuple[Offer, ...]:
    """Returns the offers that roll back members of stopped strata and waves."""
    return _back(rollout, [member for member in rollout.members if rollout.is_stopped(member)], facts)


def _late_offers(rollout: Rollout, facts: Facts) -> tuple[Offer, ...]:
    """Returns offers for devices that joined after a rollout was planned and have no order yet."""
    return tuple(
        Offer(member.device, rollout.model, rollout.release)
        for member in rollout.members
        if member.late and not rollout.is_stopped(member) and _is_untold(facts[member.device])
    )


def _is_untold(fact: DeviceFact) -> bool:
    return fact.assigned is None and not fact.retired


def _return_all(rollout: Rollout, facts: Facts, end: Status, now: float) -> Decision:
    """Offers every returning device its previous release again, as a new and higher generation.

    The rollout gets the status `end` when every device that it waits for has reported that it is back. The others
    receive the retained document when they connect.
    """
    offers = _back(rollout, _returning(rollout, facts), facts)
    if rollout.returning_since is None:
        rollout = msgspec.structs.replace(rollout, returning_since=now)
    if offers or awaited(rollout, facts, now):
        return Decision(rollout, offers)
    return Decision(msgspec.structs.replace(rollout, status=end, returning_since=None))


def awaited(rollout: Rollout, facts: Facts, now: float) -> list[str]:
    """Returns devices that still have the release and for which a roll back waits, at most until its deadline."""
    waited_s = now - (now if rollout.returning_since is None else rollout.returning_since)
    return [
        member.device
        for member in _returning(rollout, facts)
        if holds(rollout, facts[member.device]) and waited_s <= _patience_s(rollout, facts[member.device])
    ]


def waits_for_absentees_only(rollout: Rollout, facts: Facts, now: float) -> bool:
    """Tells whether every device was ordered to roll back, and every device that has not returned yet is offline."""
    told = rollout.returning_since is not None and not _back(rollout, _returning(rollout, facts), facts)
    return told and all(facts[device].presence != "online" for device in awaited(rollout, facts, now))


def _patience_s(rollout: Rollout, fact: DeviceFact) -> float:
    """Returns the seconds for which a roll back waits for this device; negative: it does not wait."""
    match fact.presence:
        case "online":
            return rollout.strategy.deadline_s
        case "offline":
            return -1.0
        case _:
            return min(ABSENT_S, rollout.strategy.deadline_s)


def _returning(rollout: Rollout, facts: Facts) -> list[Member]:
    """Returns the members of all waves that have begun; for an aborted rollout only those that have not confirmed.

    If the version before is lost, the device is left as it is.
    """
    keeps = rollout.status == "aborting"
    return [
        member
        for member in rollout.members
        if member.wave <= rollout.wave
        and not member.lost_digest
        and not is_left_alone(rollout, member, facts[member.device])
        and not (keeps and _has_confirmed(rollout, facts[member.device]))
    ]


def is_held(rollout: Rollout, member: Member, fact: DeviceFact, *, keeps_confirmed: bool) -> bool:
    """Whether a roll back would change the device: it was offered the release, and does not keep what it has
    confirmed.
    """
    if member.lost_digest or fact.pinned_at or (keeps_confirmed and _has_confirmed(rollout, fact)):
        return False
    return _release_of(fact) == rollout.release and not _keeps_its_own(rollout, member, fact)


def _back(rollout: Rollout, members: list[Member], facts: Facts) -> tuple[Offer, ...]:
    return tuple(
        Offer(member.device, rollout.model, member.previous_release)
        for member in members
        if is_held(rollout, member, facts[member.device], keeps_confirmed=False)
    )


def _keeps_its_own(rollout: Rollout, member: Member, fact: DeviceFact) -> bool:
    """Whether a device without a way back has confirmed another version than the release: a withdrawal would end
    that version as well.
    """
    stable = fact.state.stable if fact.state is not None else None
    return not member.previous_release and stable is not None and not rollout.carries(stable.digest)


def _release_of(fact: DeviceFact) -> int:
    return fact.assigned.release if fact.assigned is not None else 0


def _has_confirmed(rollout: Rollout, fact: DeviceFact) -> bool:
    stable = fact.state.stable if fact.state is not None else None
    return stable is not None and rollout.carries(stable.digest)


def holds(rollout: Rollout, fact: DeviceFact) -> bool:
    """Tells whether the release serves on the device, or is its stable version or its trial."""
    if fact.state is None:
        return False
    kept = [each.digest for each in (fact.state.stable, fact.state.trial) if each is not None]
    return any(rollout.carries(digest) for digest in (fact.state.serving, *kept))
