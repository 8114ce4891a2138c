"""All facts that the controller has, in three parts by how long they are kept.

Decides where a fact is kept. Refuses to know how it changes: `fold`, `offers` and `documents` do that.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from contract.desired import Delivery
from contract.messages import Heartbeat, Presence, Report, Telemetry, VersionRef
from contract.wire import Said
from controller.drift.shape import Shape
from controller.fleet.credit import Credit
from controller.fleet.heard import Heard
from controller.fleet.invented import Names
from controller.fleet.left_out import LeftOut
from controller.fleet.neighbours import NeighboursByLabel
from controller.fleet.roster import Roster
from controller.fleet.traffic import Traffic
from controller.fleet.twin import Twin
from controller.fleet.vitals import OpenSpan, Vitals
from controller.rollout.endings import Ending
from controller.rollout.facts import Sums
from controller.rollout.model import Member, Rollout
from controller.rollout.rows import Rows
from controller.rollout.verdict import RuleVerdict
from controller.telemetry.counts import Counted

FromDevice = Heartbeat | Report | Presence | Telemetry


class Retired(Said, frozen=True):
    """A device that is no longer part of the fleet."""

    at: str
    """The date and time at which it began, in ISO 8601."""
    by: str


PastRows = Callable[[str, float], Iterable[tuple[str, int, float, Sums]]]
"""Rows of the store of telemetry: (device, release, start, sums) of a model since a moment."""

PastShapes = Callable[[str, float], Iterable[tuple[str, int, float, Shape]]]


def no_past(_model: str, _since: float) -> Iterable[tuple[str, int, float, Sums]]:
    """The past of a fleet without stored telemetry."""
    return ()


def no_shapes(_model: str, _since: float) -> Iterable[tuple[str, int, float, Shape]]:
    """The answers of such a fleet."""
    return ()


def no_names(_model: str, _release: int) -> Names | None:
    """Used without a registry: devices may count under any name."""
    return None


Registered = Mapping[str, Mapping[int, frozenset[str]]]
"""model -> release -> digests of its forms"""


@dataclass
class Durable:
    """The facts that a restart does not change: written before any device or person gets them."""

    twins: dict[str, Twin] = field(default_factory=dict)
    """The desired side is written at every change; the reported side comes from the device's last heartbeat."""
    rollouts: dict[str, Rollout] = field(default_factory=dict)
    quarantine: dict[str, dict[str, str]] = field(default_factory=dict)
    """device -> digest -> the rollout in which it failed there"""
    retired: dict[str, Retired] = field(default_factory=dict)
    """Devices that were retired: messages in their names are ignored."""
    deliveries: dict[str, dict[str, Delivery]] = field(default_factory=dict)
    """artifact -> base -> the bytes in which the artifact is sent to a device that has the base; "" for no base"""
    endings: dict[str, dict[str, Ending]] = field(default_factory=dict)
    """rollout -> device -> how it ended for the device"""


@dataclass
class Measured:
    """The measurements of devices. `rows` are read from the store again after a start; the rest is measured again."""

    rows: dict[str, Rows] = field(default_factory=dict)
    """The measurements of each open rollout's members since it began, and two days before."""
    heard: dict[str, Heard] = field(default_factory=dict)
    """The counted telemetry messages of each device: each is counted once."""
    new: list[Counted] = field(default_factory=list)
    """What this pass has counted and is not durable yet."""
    told: dict[tuple[str, int, str], tuple[float, str]] = field(default_factory=dict)
    """The time and the content of the newest stored verdict, by rollout, rule and stratum."""
    left_out: LeftOut = field(default_factory=LeftOut)
    """The parts of readable messages that were left out: counts, and what a person is told."""
    credits: dict[str, Credit] = field(default_factory=dict)
    """How much more each device can have counted since its newest telemetry."""
    distributions: dict[tuple[str, int], dict[str, tuple[int, ...]]] = field(default_factory=dict)
    """(model, release) -> column -> counts per bin of the reference, of the whole fleet; "" for answers"""
    predictions: dict[tuple[str, int], dict[str, int]] = field(default_factory=dict)
    """(model, release) -> answers by label, of the whole fleet; the rarest as "other" """
    divergences: dict[tuple[str, int], tuple[int, ...]] = field(default_factory=dict)
    """(model, release) -> rows as a shadow, by the distance from stable's answers"""
    totals: dict[tuple[str, str, int], Sums] = field(default_factory=dict)
    """(device, model, release) -> sums"""
    versions: dict[str, set[tuple[str, int]]] = field(default_factory=dict)
    """device -> (model, release) of which there are totals"""
    invented: dict[tuple[str, str, int], int] = field(default_factory=dict)
    """(device, model, release) -> counts that were left out, because the version has no such class or column"""
    too_many: dict[tuple[str, str, int], int] = field(default_factory=dict)
    """(device, model, release) -> inferences that were left out, because so many cannot have been in the time"""
    faults: dict[tuple[str, str, int], dict[str, str]] = field(default_factory=dict)
    """(device, model, release) -> code -> the newest words about a row that failed or was refused"""
    traffic: dict[str, Traffic] = field(default_factory=dict)
    """The traffic of a device, and the rest of its newest telemetry: memory, stalls."""
    vitals: dict[str, OpenSpan] = field(default_factory=dict)
    """The vitals of each device in the newest five minutes in which it sent any."""
    closed_vitals: list[tuple[str, Vitals]] = field(default_factory=list)
    """(device, vitals) of intervals that are over and not durable yet."""
    undecided: dict[str, str] = field(default_factory=dict)
    """The fault of each rollout that the newest pass could not decide."""
    verdicts: dict[str, tuple[RuleVerdict, ...]] = field(default_factory=dict)
    """The newest verdicts of each rollout's rules."""


@dataclass
class Caches:
    """What passes keep for later passes: derived from the rest, and computed again after a restart."""

    near_by_label: NeighboursByLabel | None = None
    """Devices that serve neighbours, as of this pass; None until an offer needs them."""
    places: dict[str, tuple[tuple[Member, ...], dict[str, Member]]] = field(default_factory=dict)
    """Members of rollouts by device, made again when the members change."""
    joining: set[str] = field(default_factory=set)
    """Devices that are new or have other labels now: a rollout may match them now."""
    waiting: set[str] = field(default_factory=set)
    """Devices that have not acted on their document, by their own reports."""
    reordered: set[str] = field(default_factory=set)
    """Devices in whose document an operator has changed something: it is issued again in the next pass."""
    published_at: dict[str, float] = field(default_factory=dict)
    """When a device's document was last published."""
    changed: set[str] = field(default_factory=set)
    """Devices whose entry in the roster must be computed again."""
    roster: Roster | None = None
    """The index of the fleet that `reconcile.roster` keeps; None until it is used."""
    roster_withdrawn: Mapping[tuple[str, int], str] = field(default_factory=dict)
    """The withdrawn versions that the roster was made with."""
    sweep_at: float = 0.0
    """When all documents are checked next."""


@dataclass
class World:
    """All facts of the controller, and the settings on which decisions depend."""

    silent_s: float
    sources: tuple[str, ...] = ()
    """Addresses of blobs besides the broker."""
    neighbours_by: str = ""
    """The label whose value neighbours have in common; empty: no device fetches from another one."""
    registered: Registered | None = None
    """The versions in the registry: a device cannot be sent back to any other version. None: no registry was handed
    in.
    """
    names: Callable[[str, int], Names | None] = no_names
    """The names under which devices may count, by model and release: other names are ignored."""
    withdrawn: Mapping[tuple[str, int], str] = field(default_factory=dict)
    """(model, release) -> why no device may get it any more"""
    alerts: Mapping[str, str] = field(default_factory=dict)
    """device -> the words of the worst firing alert about it: its health is then `attention`, with these words"""
    past: PastRows = no_past
    """The measurements of devices from before this controller started."""
    past_shapes: PastShapes = no_shapes
    """Their answers, which are stored separately: for rollouts with a rule about a class."""
    durable: Durable = field(default_factory=Durable)
    measured: Measured = field(default_factory=Measured)
    caches: Caches = field(default_factory=Caches)


def members_of(world: World, rollout: Rollout) -> dict[str, Member]:
    """The members of a rollout by device."""
    known = world.caches.places.get(rollout.id)
    if known is None or known[0] is not rollout.members:
        known = (rollout.members, {member.device: member for member in rollout.members})
        world.caches.places[rollout.id] = known
    return known[1]


def holds(world: World, model: str, version: VersionRef) -> bool:
    """Whether a device could be sent this version of `model`: the registry has it, with this digest."""
    if world.registered is None:
        return True
    return version.digest in world.registered.get(model, {}).get(version.release, ())


def drop_twin(world: World, device: str) -> None:
    """Removes a device from everything but rollouts of which it was a member."""
    world.durable.twins.pop(device, None)
    world.durable.quarantine.pop(device, None)
    world.measured.traffic.pop(device, None)
    world.measured.heard.pop(device, None)
    world.measured.left_out.drop(device)
    world.measured.credits.pop(device, None)
    world.measured.vitals.pop(device, None)
    world.measured.closed_vitals = [each for each in world.measured.closed_vitals if each[0] != device]
    for model, release in world.measured.versions.pop(device, ()):
        for kept in (
            world.measured.totals,
            world.measured.invented,
            world.measured.too_many,
            world.measured.faults,
        ):
            kept.pop((device, model, release), None)
    for rows in world.measured.rows.values():
        rows.drop({device})
    world.caches.joining.discard(device)
    world.caches.waiting.discard(device)
    world.caches.reordered.discard(device)
    world.caches.published_at.pop(device, None)
    world.caches.changed.add(device)


def put_twin(world: World, twin: Twin) -> None:
    """Replaces a twin, and notes whether its device still has to act on its document."""
    world.durable.twins[twin.device] = twin
    world.caches.changed.add(twin.device)
    for model, assigned in twin.desired.items():
        state = twin.reported.get(model)
        if state is None or state.generation < assigned.generation:
            world.caches.waiting.add(twin.device)
            return
    world.caches.waiting.discard(twin.device)
