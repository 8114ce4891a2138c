"""The deciding half of a pass: messages are folded into twins, rollouts are decided, changes are returned.

Decides everything that a pass changes; the same world, messages and time give the same result. Refuses to know how a
change becomes durable or reaches a device: `one_pass` orders that.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from contract.messages import Ack, Heartbeat, Report
from controller.fleet.twin import Twin
from controller.fleet.vitals import Vitals
from controller.reconcile.deeds import Deed, deeds_of, failed_late, joined, quarantines
from controller.reconcile.documents import answer_nonces, issue_reordered, reissue_documents, unheard_documents
from controller.reconcile.failed_there import Failed, keep_from_failed, news_of_failures
from controller.reconcile.fold import close_vitals, fold
from controller.reconcile.measured import marks_of, rows_of
from controller.reconcile.membership import facts_of, is_standing, join_newcomers
from controller.reconcile.offers import keep_from, offer_release
from controller.reconcile.pinning import end_pins
from controller.reconcile.series import VerdictPoint, points_of
from controller.reconcile.world import FromDevice, World
from controller.rollout.decide import Decision, decide
from controller.rollout.model import FINAL, JUDGED, Rollout
from controller.rollout.rows import Rows
from controller.telemetry.counts import Counted

MAX_WORDS = 200
"""Characters about a rollout that could not be decided."""
SWEEP_S = 30.0
"""Seconds between two checks of all twins for stale and unheard documents: other passes look at changed twins only."""


@dataclass(frozen=True, slots=True)
class Changes:
    """The changes of one pass, and the messages that must be kept."""

    redesired: frozenset[str] = frozenset()
    """Devices with a new desired document."""
    unheard: frozenset[str] = frozenset()
    """Devices that are online and have not acted on their document: it is published again unchanged."""
    rollouts: tuple[Rollout, ...] = ()
    unpinned: frozenset[str] = frozenset()
    """Devices on which the time of a pin is over."""
    restarted: frozenset[str] = frozenset()
    """Devices whose agent has started again: the former start is kept durably."""
    quarantined: frozenset[str] = frozenset()
    """Devices on which a release has failed permanently."""
    endings: frozenset[tuple[str, str]] = frozenset()
    """(rollout, device) whose ending is new."""
    deeds: tuple[Deed, ...] = ()
    """The controller's actions without a person, for the audit."""
    acks: tuple[tuple[str, Ack], ...] = ()
    reports: tuple[tuple[str, Report], ...] = ()
    heartbeats: tuple[tuple[str, Heartbeat], ...] = ()
    measured: tuple[Counted, ...] = ()
    vitals: tuple[tuple[str, Vitals], ...] = ()
    """(device, vitals) of intervals that are over."""
    verdicts: tuple[VerdictPoint, ...] = ()
    """Verdicts that are kept: those that have changed, and one at intervals."""


def reconcile(world: World, inbox: Iterable[tuple[str, FromDevice]], now: float) -> Changes:
    """Folds (device, message) into `world`, in place, and decides every rollout; returns what has changed."""
    world.caches.near_by_label = None
    heard = _fold_all(world, inbox, now)
    measured, world.measured.new = tuple(world.measured.new), []
    verdicts: list[VerdictPoint] = []
    redesired: set[str] = set()
    changed: dict[str, Rollout] = {}
    quarantined: set[str] = set()
    endings: set[tuple[str, str]] = set()
    deeds: list[Deed] = []
    for rollout in join_newcomers(world):
        deeds += joined(world.durable.rollouts[rollout.id], rollout)
        world.durable.rollouts[rollout.id] = changed[rollout.id] = rollout
    for rollout in list(world.durable.rollouts.values()):
        if rollout.status not in JUDGED:
            world.measured.rows.pop(rollout.id, None)
        world.measured.undecided.pop(rollout.id, None)
        if rollout.status in FINAL and not is_standing(world, rollout):
            continue
        try:
            decision, kept_from, done = _decide_one(world, rollout, now)
        except Exception as error:  # what devices said of one model must not stop the rollouts of others
            world.measured.undecided[rollout.id] = f"{type(error).__name__}: {error}"[:MAX_WORDS]
            continue
        verdicts += points_of(world, rollout, decision.verdicts, now)
        endings |= {(rollout.id, device) for device in decision.endings}
        for offer in decision.offers:
            offer_release(world, offer, rollout, now)
            redesired.add(offer.device)
        quarantined |= kept_from
        deeds += done
        if decision.rollout != rollout:
            world.durable.rollouts[rollout.id] = changed[rollout.id] = decision.rollout
    failed_late, failed_endings, told_late = _keep_failed(world, heard)
    quarantined |= failed_late
    endings |= failed_endings
    deeds += told_late
    redesired |= answer_nonces(world, (device for device, _ in heard.heartbeats), now)
    redesired |= issue_reordered(world, now)
    unheard: set[str] = set()
    unpinned: set[str] = set()
    if now >= world.caches.sweep_at:
        world.caches.sweep_at = now + SWEEP_S
        redesired |= reissue_documents(world, now)
        unheard = unheard_documents(world, now) - redesired
        close_vitals(world, now)
        unpinned, freed, over = end_pins(world, now)
        changed |= freed
        deeds += over
    vitals, world.measured.closed_vitals = tuple(world.measured.closed_vitals), []
    world.caches.published_at.update(dict.fromkeys(redesired | unheard, now))
    return Changes(
        redesired=frozenset(redesired),
        unheard=frozenset(unheard),
        rollouts=tuple(changed.values()),
        unpinned=frozenset(unpinned),
        restarted=frozenset(heard.restarted),
        quarantined=frozenset(quarantined),
        endings=frozenset(endings),
        deeds=tuple(deeds),
        acks=tuple(heard.acks),
        reports=tuple(heard.reports),
        heartbeats=tuple(heard.heartbeats),
        measured=measured,
        vitals=vitals,
        verdicts=tuple(verdicts),
    )


@dataclass
class _Heard:
    """The messages of a pass that must be kept or answered. A repeated report is acknowledged once."""

    restarted: set[str] = field(default_factory=set)
    acks: dict[tuple[str, Ack], None] = field(default_factory=dict)
    reports: list[tuple[str, Report]] = field(default_factory=list)
    heartbeats: list[tuple[str, Heartbeat]] = field(default_factory=list)
    failures: list[Failed] = field(default_factory=list)


def _fold_all(world: World, inbox: Iterable[tuple[str, FromDevice]], now: float) -> _Heard:
    heard = _Heard()
    for device, message in inbox:
        if device in world.durable.retired:
            continue  # it was accepted before the device was retired, such as the end of its connection
        try:
            _fold_one(world, device, message, now, heard)
        except Exception as error:  # a message that cannot be folded costs itself, whatever is wrong with it
            world.measured.left_out.note_unusable(device, type(message).__name__, error)
        else:
            world.measured.left_out.note_used(device, type(message).__name__)
    return heard


def _fold_one(world: World, device: str, message: FromDevice, now: float, heard: _Heard) -> None:
    before = world.durable.twins.get(device) or Twin(device)
    if fold(world, device, message, now):
        heard.restarted.add(device)
    if isinstance(message, Report | Heartbeat):
        heard.failures += news_of_failures(before, world.durable.twins[device])
    if isinstance(message, Report):
        heard.acks[device, Ack(boot=message.boot, seq=message.seq)] = None
        heard.reports.append((device, message))
    elif isinstance(message, Heartbeat) and _is_newest(world, device, message):
        heard.heartbeats.append((device, message))


def _keep_failed(world: World, heard: _Heard) -> tuple[set[str], set[tuple[str, str]], list[Deed]]:
    """Returns (devices that must not get a release, changed endings, deeds), also for rollouts that are over."""
    kept_from, endings = keep_from_failed(world, heard.failures)
    return kept_from, endings, [failed_late(*each) for each in heard.failures if each[0] in kept_from]


def _is_newest(world: World, device: str, message: Heartbeat) -> bool:
    """Whether a heartbeat is the newest message of its device: an older one must not be kept as the newest."""
    current = world.durable.twins[device].boots.current
    return current is not None and (current.id, current.seq) == (message.boot, message.seq)


def _decide_one(world: World, rollout: Rollout, now: float) -> tuple[Decision, set[str], list[Deed]]:
    """Returns (the actions for a rollout, devices that must not get the release from now on, entries for the audit).

    Endings, verdicts and quarantines are noted in `world`.
    """
    facts = facts_of(world, rollout, now, late_only=rollout.status == "completed")
    kept = world.durable.endings.get(rollout.id, {})
    is_open = rollout.status in JUDGED
    rows = rows_of(world, rollout) if is_open else Rows()
    if is_open:
        rows.tend(now, marks_of(rollout))
    decision = decide(rollout, facts, rows, now, kept)
    if decision.endings:
        world.durable.endings[rollout.id] = kept = {**kept, **decision.endings}
    world.measured.verdicts[rollout.id] = decision.verdicts or world.measured.verdicts.get(rollout.id, ())
    kept_from = keep_from(world, decision.quarantined, rollout)
    return decision, kept_from, [*quarantines(rollout, kept_from, kept), *deeds_of(rollout, decision.rollout, kept)]
