"""Laws of a fleet: liveness, rollouts, resources. They read histories, the controller's trace and the disks."""

from collections.abc import Callable
from datetime import datetime
from itertools import pairwise

from controller.rollout.model import FINAL, Rollout
from firmware_sim.checkers.health import health_tells
from firmware_sim.checkers.identity import identity
from firmware_sim.checkers.law import hold
from firmware_sim.checkers.safety import check_safety
from firmware_sim.device import MODEL, Device
from firmware_sim.fleet_keys import WORLD_BEGAN
from firmware_sim.world import FleetWorld

MAX_RECORD_BYTES = 20_000
RECORD_WEAR = 2
"""Times that a record may be written for each change of it: a power cut repeats one."""
MAX_RETAINED_PER_DEVICE = 2
QUIET_S = 600.0
"""Seconds at the end of a run in which no device may refuse anything."""

Checker = Callable[[FleetWorld], None]


def safety(world: FleetWorld) -> None:
    """Checks the laws of safety on every device, at every moment."""
    releases = zip(world.models.values(), world.scenario.release, strict=True)
    soaks = {
        model.manifest.artifact.sha256: float((release.strategy or world.scenario.strategy).trial.soak_s)
        for model, release in releases
    }
    for device in world.devices.values():
        check_safety(device.name, device.history, soaks)


def liveness(world: FleetWorld) -> None:
    """Checks that after the faults every device converges, and that the controller has recorded it."""
    ends_at = world.clock.now
    given = _given(world)
    for device in world.devices.values():
        wanted = given.get(device.name, 0)
        record = device.record
        hold(device.powered, "converges", device.name, ends_at, "has no power at the end")
        hold(record.trial is None, "converges", device.name, ends_at, "is still in a trial")
        stable = record.stable.manifest.release if record.stable else 0
        hold(stable == wanted, "converges", device.name, ends_at, f"runs v{stable}, not v{wanted}: {_why(device)}")
        serves = record.stable.digest if record.stable else ""
        hold(device.serving == serves, "converges", device.name, ends_at, "does not serve its stable version")
        twin = world.controller.world.durable.twins[device.name]
        told = twin.reported.get(MODEL)
        knows = (told.stable.release if told is not None and told.stable else 0) == stable
        hold(knows, "twin_follows", device.name, ends_at, "the controller believes something else")


def refusals(world: FleetWorld) -> None:
    """Checks that for some time before the end no device has refused anything, so that no fault locks one out."""
    quiet_since = world.clock.now - QUIET_S
    for when, device, code in world.controller.refusals:
        at = (datetime.fromisoformat(when) - WORLD_BEGAN).total_seconds()
        hold(at < quiet_since, "nothing_refused_for_ever", device, at, f"still refuses what it is told: {code}")


def keeps_its_model(world: FleetWorld) -> None:
    """Checks that no device loses its stable version, unless a rollout rolls back to where it had none."""
    goes_back = [at for at, rollout in world.controller.history if rollout.status in ("rolling_back", "aborting")]
    for device in world.devices.values():
        for before, after in pairwise(device.history):
            lost = before.record.stable is not None and after.record.stable is None and before.card == after.card
            meant = any(at <= after.at for at in goes_back)
            hold(meant or not lost, "keeps_its_model", device.name, after.at, "lost its stable version")


def rollouts(world: FleetWorld) -> None:
    """Checks that rollouts end as expected, and reach no device before its turn."""
    latest: dict[str, Rollout] = {}
    for at, rollout in world.controller.history:
        before = latest.get(rollout.id)
        _one_step(before, rollout, at)
        latest[rollout.id] = rollout
    for number, release in enumerate(world.scenario.release, start=1):
        found = latest.get(f"r-{number}")
        status = found.status if found else "never started"
        what = f"ended {status}, not {release.expect}: {found.reason if found else ''}"
        hold(status == release.expect, "rollout_ends", f"r-{number}", world.clock.now, what)
    _nobody_before_its_turn(world)
    _nobody_keeps_a_bad_release(world, latest)


def order(world: FleetWorld) -> None:
    """Checks at every moment: durable before published, published before acknowledged, also after failures and
    kills.
    """
    controller = world.controller
    for at, device, version, durable in controller.published:
        kept = version <= durable
        hold(kept, "durable_before_published", device, at, f"document {version} was published, {durable} was durable")
    for at, device, ack, durable in controller.acknowledged:
        what = f"boot {ack.boot} report {ack.seq} was acknowledged and is not durable"
        hold(durable, "durable_before_acknowledged", device, at, what)


def resources(world: FleetWorld) -> None:
    """Checks that flash holds only what the record needs, and that the broker holds few messages per device."""
    for device in world.devices.values():
        allowed = {
            "device",
            "trust",
            f"role-{MODEL}",
            f"record-{MODEL}",
            *(f"blob-{digest}" for digest in device.record.kept_digests),
        }
        left = sorted(set(device.flash.names()) - allowed)
        hold(not left, "flash_is_clean", device.name, world.clock.now, f"leftovers on flash: {left}")
        record = f"record-{MODEL}"
        size_bytes = device.flash.size_bytes(record) if device.flash.has(record) else 0
        hold(size_bytes <= MAX_RECORD_BYTES, "record_is_small", device.name, world.clock.now, f"{size_bytes} bytes")
        reason = device.link.bytes_down + sum(RECORD_WEAR * len(moment.raw_record) + 200 for moment in device.history)
        wear = f"{device.flash.written_bytes} bytes written, {reason} explained by what came and what changed"
        hold(device.flash.written_bytes <= reason, "wear_has_a_reason", device.name, world.clock.now, wear)
    kept = [topic for topic in world.network.retained if "/d/" in topic]
    bounded = len(kept) <= MAX_RETAINED_PER_DEVICE * len(world.devices)
    hold(bounded, "retained_is_bounded", "broker", world.clock.now, f"{len(kept)} retained messages")


def _given(world: FleetWorld) -> dict[str, int]:
    """Returns the newest release that a completed rollout brought to each device; one that joined later
    has none yet.
    """
    final = {rollout.id: rollout for _, rollout in world.controller.history}
    completed = sorted(
        (rollout for rollout in final.values() if rollout.status == "completed"), key=lambda r: r.release
    )
    return {
        member.device: rollout.release
        for rollout in completed
        for member in rollout.members
        if not rollout.is_stopped(member)
    }


CHECKERS: tuple[Checker, ...] = (
    safety, order, keeps_its_model, refusals, identity, health_tells, rollouts, liveness, resources,
)  # fmt: skip


def check_world(world: FleetWorld) -> None:
    """Raises Violation for the first law that the run broke."""
    for checker in CHECKERS:
        checker(world)


def _one_step(before: Rollout | None, after: Rollout, at: float) -> None:
    if before is None:
        return
    hold(before.status not in FINAL, "final_is_final", after.id, at, f"{before.status} became {after.status}")
    moved = (before.wave != after.wave) + (before.status != after.status)
    hold(moved <= 1 and after.wave - before.wave in (0, 1), "one_step_a_pass", after.id, at, "took two steps at once")


def _nobody_before_its_turn(world: FleetWorld) -> None:
    waves = world.controller.history
    turns = {rollout.id: {member.device: member.wave for member in rollout.members} for _, rollout in waves}
    for at, device, release, _ in world.controller.offers:
        known = [rollout for when, rollout in waves if when <= at and rollout.release == release]
        wave = turns[known[-1].id].get(device) if known else None
        turn = wave is not None and wave <= known[-1].wave
        restored = any(rollout.status in ("rolling_back", "rolled_back") and when <= at for when, rollout in waves)
        hold(turn or restored, "no_wave_before_its_turn", device, at, f"was offered v{release} too early")


def _nobody_keeps_a_bad_release(world: FleetWorld, latest: dict[str, Rollout]) -> None:
    for rollout in latest.values():
        if rollout.status != "rolled_back":
            continue
        reached = set(rollout.devices_up_to(rollout.wave))
        for device in world.devices.values():
            served = any(moment.serving == rollout.digest for moment in device.history)
            spared = not served or device.name in reached
            what = f"served v{rollout.release}, which never was its turn"
            hold(spared, "blast_radius", device.name, world.clock.now, what)


def _why(device: Device) -> str:
    outcome = device.record.outcome
    return f"{outcome.result} {outcome.code} {outcome.detail}" if outcome else f"no outcome, dropped {device.dropped}"
