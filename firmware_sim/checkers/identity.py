"""Laws of names and SD cards: the controller accepts every device after a start and reports copies and nothing else."""

from controller.fleet.boots import RETURNS_OF_A_COPY
from firmware_sim.cards import ClonedIdentity
from firmware_sim.checkers.law import hold
from firmware_sim.world import FleetWorld


def identity(world: FleetWorld) -> None:
    """Checks that a device is accepted after every start, and that two devices with one name are reported, and only
    these.
    """
    for at, device, is_heard in world.seen.heard:
        hold(is_heard, "heard_after_every_start", device, at, "the controller still uses an earlier start")
    for at, device, is_told in world.seen.told:
        hold(is_told, "copy_is_told", device, at, "two devices have one name, and it was not reported")
    copied = any(isinstance(fault, ClonedIdentity) for fault in world.scenario.fault)
    for name, twin in world.controller.world.durable.twins.items():
        returns = max((boot.returns for boot in twin.boots.past), default=0)
        what = f"one device was reported as two: an earlier start returned {returns} times"
        hold(copied or returns < RETURNS_OF_A_COPY, "no_copy_is_invented", name, world.clock.now, what)
