"""A rollout as the API shows it: its state, its waves, its newest verdicts, and pages of its members.

Decides how many members one answer names. Refuses to know the consequences.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from contract.messages import ModelState, VersionRef
from contract.wire import Message
from controller.fleet.absences import Return
from controller.reconcile.membership import facts_of, quiet_of
from controller.reconcile.preview import bytes_for
from controller.reconcile.world import World
from controller.rollout.endings import Ending, Endings, shown
from controller.rollout.explain import whom_it_waits_for
from controller.rollout.exposure import Exposure, exposure_of
from controller.rollout.facts import DeviceFact
from controller.rollout.model import FINAL, Member, OnFail, Rollout
from controller.rollout.outcome import FAILURES, MemberOutcome, outcome_of
from controller.rollout.progress import WaveProgress, away_of, left_of, waves_of
from controller.rollout.schedule import schedule_words
from controller.rollout.stuck import stuck_words
from controller.rollout.verdict import HOLDS_NOTHING_UP, Figures, RuleVerdict, Word

MAX_MEMBERS = 200
"""Members in the view of one rollout; `/members` has all of them, a page at a time."""
MAX_FAILED_SHOWN = 50
"""The most failed members that the view of a rollout names: the first ones to examine."""
MAX_FAILED_LISTED = 3
"""The same limit in a list of rollouts, where one needs only the cause."""
MAX_PAGE = 1000
"""Members in one page: 200 kB."""


class MemberView(Message, frozen=True):
    """One device in a rollout."""

    device: str
    wave: int
    """Counted from 0; people count from 1."""
    stratum: str
    outcome: MemberOutcome
    """The state of the update on the device; after the rollout its final outcome there, also if the device changed
    later.
    """
    phase: str
    """The device's phase now."""
    serving_release: int | None
    code: str
    detail: str


class VerdictView(Message, frozen=True):
    """The newest verdict of a rule."""

    metric: str
    stratum: str
    """Empty if the rule judges all devices together."""
    verdict: Word
    detail: str
    figures: Figures | None = None
    """The numbers that led to the word and the sentence; None if there are too few data."""
    rule: int = 0
    """The index of the rule in its strategy."""
    on_fail: OnFail | None = None
    """The consequence if it fails; None in a series, which repeats no rule."""
    across: bool = False
    """Whether the interval holds values on both sides of the limit: `pass` then means that no harm was shown."""


class VerdictPointView(VerdictView, frozen=True, kw_only=True):
    """The verdict of a rule at one moment."""

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
    """Counted from 0; people count from 1."""
    waves: int
    reason: str
    counts: dict[str, int]
    """Members by outcome."""
    transfer: TransferView
    failed: tuple[MemberView, ...]
    """The first members that have failed: 3 in a list of rollouts, 50 in the view of one."""
    verdicts: tuple[VerdictView, ...]
    created_at: str
    created_by: str


class RolloutPage(Message, frozen=True):
    """A page of a list of rollouts, newest first."""

    total: int
    """The number of rollouts on all pages."""
    rollouts: tuple[RolloutSummary, ...]


class MemberPage(Message, frozen=True):
    """A page of the members of a rollout that pass the filters, in the order of the plan."""

    total: int
    members: tuple[MemberView, ...]


class RolloutView(RolloutSummary, frozen=True):
    """One rollout with its waves and its plan."""

    progress: tuple[WaveProgress, ...]
    """The state of each wave."""
    left_s: float
    """The smallest number of seconds left."""
    left_low_s: float
    left_high_s: float
    """The range in seconds in which it is expected to end, from the usual online hours of devices that are offline."""
    left: str
    """The same in a sentence, with what may make it longer; empty once it has ended."""
    waits_for: str
    """A sentence about the devices that have not decided, with the phase of each and whether it gets requests, or about
    rules whose counts cannot grow any more; empty if there is none."""
    exposure: Exposure | None
    """What devices have done with the release so far; None once the rollout has ended."""
    devices: int
    """The number of its members."""
    members: tuple[MemberView, ...]
    """The first 200 members, in the order of the plan."""
    excluded: dict[str, str]
    plan_digest: str
    approved_by: str
    retry_of: str
    """The rollout whose failed devices this one retries; empty for any other."""
    schedule: str
    """When offers are made, in a sentence; empty without a schedule."""
    proposers: tuple[str, ...]
    """The people who proposed it: none of them may approve it."""
    trace_id: str = ""
    """The id of the OpenTelemetry trace that is sent at the end; empty if none is sent."""


def verdict_view(verdict: RuleVerdict, rollout: Rollout | None = None) -> VerdictView:
    """Returns the view of a rule's verdict; with its rollout also what follows if it fails."""
    return VerdictView(
        metric=verdict.metric,
        stratum=verdict.stratum,
        verdict=verdict.word,
        detail=verdict.detail,
        figures=verdict.figures,
        rule=verdict.rule,
        across=verdict.is_across,
        on_fail=rollout.strategy.rules[verdict.rule].on_fail if rollout is not None else None,
    )


Returns = Callable[[list[str]], dict[str, Return | None]]
"""Says when each offline device may be online again."""


def rollout_view(
    rollout: Rollout, world: World, now: float, *, returns: Returns = lambda _: {}, trace_id: str = ""
) -> RolloutView:
    """Returns a rollout with its waves, its first members and the newest verdicts."""
    facts, endings = facts_of(world, rollout, now), world.durable.endings.get(rollout.id, {})
    outcomes = outcomes_of(rollout, facts, endings, now)
    progress = waves_of(rollout, outcomes, now)
    absent = [device for device, word in outcomes.items() if word == "pending" and facts[device].presence != "online"]
    away = away_of(rollout, len(absent), list(returns(absent).values()) or [None] * len(absent))
    undecided = sum(each.word not in HOLDS_NOTHING_UP for each in world.measured.verdicts.get(rollout.id, ()))
    clock = datetime.fromtimestamp(now, UTC)
    left = left_of(rollout, progress, clock, away=away, undecided=undecided)
    rows = world.measured.rows.get(rollout.id)
    return RolloutView(
        progress=progress,
        left_s=left.seconds,
        left_low_s=left.low_s,
        left_high_s=left.high_s,
        left=left.words,
        waits_for=whom_it_waits_for(rollout, facts, now, quiet_of(world, rollout, wave=rollout.wave))
        or stuck_words(rollout, facts, world.measured.verdicts.get(rollout.id, ()), now),
        exposure=exposure_of(rollout, rows.table(), progress) if rows is not None else None,
        devices=len(rollout.members),
        members=_views(rollout, rollout.members[:MAX_MEMBERS], facts, endings, now),
        excluded={device: reason.words for device, reason in rollout.excluded.items()},
        plan_digest=rollout.plan_digest,
        approved_by=rollout.approved_by,
        retry_of=rollout.retry_of,
        schedule=schedule_words(rollout.schedule, now),
        proposers=rollout.people,
        trace_id=trace_id,
        **_summary_fields(rollout, world, facts, outcomes, now, failed_shown=MAX_FAILED_SHOWN),
    )


def rollout_summary(rollout: Rollout, world: World, now: float) -> RolloutSummary:
    """Returns a rollout without its members. For one that has ended, the stored outcomes are counted."""
    facts = facts_of(world, rollout, now) if rollout.status not in FINAL else {}
    outcomes = outcomes_of(rollout, facts, world.durable.endings.get(rollout.id, {}), now)
    return RolloutSummary(**_summary_fields(rollout, world, facts, outcomes, now, failed_shown=MAX_FAILED_LISTED))


def member_page(
    rollout: Rollout,
    world: World,
    now: float,
    *,
    outcomes: Collection[str] = (),
    wave: int | None = None,
    stratum: str = "",
    limit: int = 25,
    offset: int = 0,
) -> MemberPage:
    """Returns members with one of these outcomes, of this wave and of this stratum; an omitted filter excludes no
    member.
    """
    facts, endings = facts_of(world, rollout, now), world.durable.endings.get(rollout.id, {})
    words = outcomes_of(rollout, facts, endings, now)
    chosen = [
        member
        for member in rollout.members
        if (not outcomes or words[member.device] in outcomes)
        and wave in (None, member.wave)
        and stratum in ("", member.stratum)
    ]
    page = chosen[offset : offset + min(limit, MAX_PAGE)]
    return MemberPage(total=len(chosen), members=_views(rollout, page, facts, endings, now))


def outcomes_of(
    rollout: Rollout, facts: Mapping[str, DeviceFact], endings: Endings, now: float
) -> dict[str, MemberOutcome]:
    """Returns the outcome of each member that is counted: all with a stored outcome, and those for which there are
    facts.
    """
    found = {}
    for member in rollout.members:
        known, fact = endings.get(member.device), facts.get(member.device)
        if fact is not None:
            found[member.device] = shown(rollout, outcome_of(rollout, member, fact, now), known)
        elif known is not None:
            found[member.device] = known.outcome
    return found


def _summary_fields(
    rollout: Rollout,
    world: World,
    facts: Mapping[str, DeviceFact],
    outcomes: Mapping[str, MemberOutcome],
    now: float,
    *,
    failed_shown: int,
) -> dict[str, Any]:
    """Returns the fields of a summary. Only members that have an entry in `facts` are measured."""
    members = [member for member in rollout.members if member.device in facts]
    endings = world.durable.endings.get(rollout.id, {})
    failed = [member for member in rollout.members if outcomes.get(member.device) in FAILURES][:failed_shown]
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
        "counts": dict(sorted(Counter(outcomes.values()).items())),
        "failed": _views(rollout, failed, facts, endings, now),
        "verdicts": tuple(verdict_view(each, rollout) for each in world.measured.verdicts.get(rollout.id, ())),
        "created_at": rollout.created_at,
        "created_by": rollout.created_by,
    }


def _views(
    rollout: Rollout, members: Sequence[Member], facts: Mapping[str, DeviceFact], endings: Endings, now: float
) -> tuple[MemberView, ...]:
    """Returns members in words; for one without facts what was stored."""
    nothing = DeviceFact("", "unknown", None, None)
    return tuple(
        _member_view(rollout, member, facts.get(member.device, nothing), now, endings.get(member.device))
        for member in members
    )


def _member_view(rollout: Rollout, member: Member, fact: DeviceFact, now: float, known: Ending | None) -> MemberView:
    state, live = fact.state, outcome_of(rollout, member, fact, now)
    outcome = shown(rollout, live, known)
    kept = known is not None and known.outcome == outcome
    away = fact.presence if outcome == "pending" and fact.presence != "online" else ""
    return MemberView(
        device=member.device,
        wave=member.wave,
        stratum=member.stratum,
        outcome=outcome,
        phase=state.phase if state else "",
        serving_release=serving_release(state),
        code=known.code if known is not None and kept else "" if outcome == "waiting" else _code(state),
        detail=known.detail if known is not None and kept else "" if outcome == "waiting" else _detail(state) or away,
    )


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
    served = serving_version(state)
    return served.release if served is not None else None


def serving_version(state: ModelState | None) -> VersionRef | None:
    """Returns the trial or stable, whichever answers on a device; None if neither does."""
    kept = (state.trial, state.stable) if state is not None else ()
    return next(
        (each for each in kept if each is not None and state is not None and each.digest == state.serving), None
    )


def _code(state: ModelState | None) -> str:
    return (state.code or (state.outcome.code if state.outcome else "")) if state else ""


def _detail(state: ModelState | None) -> str:
    return (state.detail or (state.outcome.detail if state.outcome else "")) if state else ""
