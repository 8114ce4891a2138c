"""A rollout as the API shows it: members with their outcomes, the newest verdicts. Decides nothing."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from contract.messages import ModelState
from contract.wire import Message
from controller.reconcile.membership import facts_of
from controller.reconcile.preview import bytes_for
from controller.reconcile.world import World
from controller.rollout.endings import Ending, Endings, shown
from controller.rollout.facts import DeviceFact
from controller.rollout.model import FINAL, Member, Rollout
from controller.rollout.outcome import MemberOutcome, outcome_of
from controller.rollout.verdict import Figures, RuleVerdict


class MemberView(Message, frozen=True):
    """One device in a rollout."""

    device: str
    wave: int
    stratum: str
    outcome: MemberOutcome
    """How it stands; once the rollout has ended, how it ended for the device, whatever the device has done since."""
    phase: str
    """What the device is at now."""
    serving_release: int | None
    code: str
    detail: str


class VerdictView(Message, frozen=True):
    """The newest verdict of a rule."""

    metric: str
    stratum: str
    """Empty where the rule judges all devices together."""
    verdict: str
    detail: str
    figures: Figures | None = None
    """The numbers that the word and the sentence come from; None where a rule counts devices or has too little."""


class VerdictPointView(VerdictView, frozen=True, kw_only=True):
    """What a rule said at one moment."""

    at: str


class TransferView(Message, frozen=True):
    """How much of a rollout has been transferred, according to the devices' newest heartbeats."""

    total_bytes: int
    """The bytes for all members together; for each member the smallest encoding that it can take."""
    done_bytes: int
    bytes_s: float
    """The mean rate since the rollout began, in bytes a second."""
    eta_s: float | None
    """The seconds left at that rate; None while nothing has been transferred."""


class RolloutSummary(Message, frozen=True):
    """One rollout in a few lines."""

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
    transfer: TransferView
    verdicts: tuple[VerdictView, ...]
    created_at: str
    created_by: str


class RolloutView(RolloutSummary, frozen=True):
    """One rollout with its members and its plan."""

    members: tuple[MemberView, ...]
    excluded: dict[str, str]
    plan_digest: str
    approved_by: str
    proposers: tuple[str, ...]
    """Everybody behind it: none of them may approve it."""


def verdict_view(verdict: RuleVerdict) -> VerdictView:
    """Returns the view of a rule's verdict."""
    return VerdictView(
        metric=verdict.metric,
        stratum=verdict.stratum,
        verdict=verdict.word,
        detail=verdict.detail,
        figures=verdict.figures,
    )


def rollout_view(rollout: Rollout, world: World, now: float) -> RolloutView:
    """A rollout with its members' outcomes and the newest verdicts."""
    facts, endings = facts_of(world, rollout, now), world.durable.endings.get(rollout.id, {})
    members = (
        _member_view(rollout, member, facts[member.device], now, endings.get(member.device))
        for member in rollout.members
    )
    return RolloutView(
        members=tuple(members),
        excluded=rollout.excluded,
        plan_digest=rollout.plan_digest,
        approved_by=rollout.approved_by,
        proposers=rollout.people,
        **_summary_fields(rollout, world, facts, now),
    )


def rollout_summary(rollout: Rollout, world: World, now: float) -> RolloutSummary:
    """A rollout without its members. One that has ended is counted by the endings that were kept."""
    facts = facts_of(world, rollout, now) if rollout.status not in FINAL else {}
    return RolloutSummary(**_summary_fields(rollout, world, facts, now))


def _summary_fields(rollout: Rollout, world: World, facts: Mapping[str, DeviceFact], now: float) -> dict[str, Any]:
    """Returns the fields of a summary. Only members that have an entry in `facts` are counted."""
    members = [member for member in rollout.members if member.device in facts]
    endings = world.durable.endings.get(rollout.id, {})
    return {
        "id": rollout.id,
        "model": rollout.model,
        "release": rollout.release,
        "strategy": rollout.strategy.name,
        "status": rollout.status,
        "open": rollout.status not in FINAL,
        "wave": rollout.wave,
        "waves": rollout.final_wave + 1,
        "reason": rollout.reason,
        "transfer": transfer_view(rollout, members, world, facts, now),
        "counts": dict(sorted(Counter(_outcomes(rollout, facts, endings, now)).items())),
        "verdicts": tuple(map(verdict_view, world.measured.verdicts.get(rollout.id, ()))),
        "created_at": rollout.created_at,
        "created_by": rollout.created_by,
    }


def _member_view(rollout: Rollout, member: Member, fact: DeviceFact, now: float, known: Ending | None) -> MemberView:
    state, live = fact.state, outcome_of(rollout, member, fact, now)
    outcome = shown(rollout, live, known)
    kept = known is not None and known.outcome == outcome
    return MemberView(
        device=member.device,
        wave=member.wave,
        stratum=member.stratum,
        outcome=outcome,
        phase=state.phase if state else "",
        serving_release=serving_release(state),
        code=known.code if known is not None and kept else "" if outcome == "waiting" else _code(state),
        detail=known.detail if known is not None and kept else "" if outcome == "waiting" else _detail(state),
    )


def _outcomes(
    rollout: Rollout, facts: Mapping[str, DeviceFact], endings: Endings, now: float
) -> Iterable[MemberOutcome]:
    """The outcome of each member that is counted: all whose ending was kept, and those of which there are facts."""
    for member in rollout.members:
        known, fact = endings.get(member.device), facts.get(member.device)
        if fact is not None:
            yield shown(rollout, outcome_of(rollout, member, fact, now), known)
        elif known is not None:
            yield known.outcome


def transfer_view(
    rollout: Rollout, members: Sequence[Member], world: World, facts: Mapping[str, DeviceFact], now: float
) -> TransferView:
    """Returns how much of a rollout has been transferred to `members`. `now` is seconds since 1970."""
    total = done = 0
    for member in members:
        wanted = bytes_for(world, rollout, member)
        total += wanted
        done += _across(rollout, facts[member.device], wanted)
    rate = done / max(now - rollout.began_at, 1.0)
    return TransferView(total_bytes=total, done_bytes=done, bytes_s=rate, eta_s=(total - done) / rate if rate else None)


def _across(rollout: Rollout, fact: DeviceFact, wanted: int) -> int:
    """Returns how many of the `wanted` bytes a device has: the reported number while it fetches, afterwards all."""
    state, assigned = fact.state, fact.assigned
    if state is None:
        return 0
    if state.stable is not None and rollout.carries(state.stable.digest):
        return wanted
    if assigned is None or assigned.release != rollout.release or state.generation < assigned.generation:
        return 0
    if state.phase == "fetching":
        return min(wanted, state.progress.done_bytes) if state.progress is not None else 0
    return wanted


def serving_release(state: ModelState | None) -> int | None:
    """Returns the release of the trial or of stable, whichever answers on a device; None if neither does."""
    if state is None:
        return None
    kept = (each for each in (state.trial, state.stable) if each is not None)
    return next((each.release for each in kept if each.digest == state.serving), None)


def _code(state: ModelState | None) -> str:
    return (state.code or (state.outcome.code if state.outcome else "")) if state else ""


def _detail(state: ModelState | None) -> str:
    return (state.detail or (state.outcome.detail if state.outcome else "")) if state else ""
