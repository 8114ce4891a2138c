"""The law that one bad device never delays another, compared with a second world without faults of single devices.

Decides only from histories of devices. Refuses to know what the faults are.
"""

from firmware_sim.checkers.law import hold
from firmware_sim.world import FleetWorld

DELAY_S = 60.0
"""Seconds by which another device may be later than without the fault: two passes and its next heartbeat."""


def never_delays(world: FleetWorld, well: FleetWorld) -> None:
    """Checks that devices without their own fault decide each release no later than in the world without it."""
    for name in world.devices.keys() - world.hit:
        with_fault = decided_at_s(world, name)
        for release, at in decided_at_s(well, name).items():
            later = with_fault.get(release, world.clock.now) - at
            what = f"decides v{release} {later:.0f} s later than without the faults of {', '.join(sorted(world.hit))}"
            hold(later <= DELAY_S, "never_delays_another", name, at + later, what)


def decided_at_s(world: FleetWorld, device: str) -> dict[int, float]:
    """Returns by release when the device first confirmed it or dropped it."""
    found: dict[int, float] = {}
    for moment in world.devices[device].history:
        record = moment.record
        decided = [record.stable.manifest.release] if record.stable is not None else []
        decided += [record.outcome.version.release] if record.outcome is not None else []
        for release in decided:
            found.setdefault(release, moment.at)
    return found
