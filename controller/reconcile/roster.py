"""Updates the index of the fleet after passes. Decides when an entry is computed again.

Refuses to know what an entry says: `fleet.roster` does that.
"""

from controller.fleet.roster import Moment, Roster
from controller.reconcile.world import World


def fresh_roster(world: World, now: float) -> Roster:
    """Returns the index of the fleet as it is now; the cost depends on the changes since the last call."""
    caches, twins, traffic = world.caches, world.durable.twins, world.measured.traffic
    if caches.roster is None or caches.roster_withdrawn != world.withdrawn:
        caches.roster, caches.roster_withdrawn, caches.changed = Roster(), dict(world.withdrawn), set(twins)
    roster = caches.roster
    changed, caches.changed = caches.changed, set()
    for device in changed:
        twin = twins.get(device)
        if twin is None:
            roster.drop(device)
        else:
            roster.put(twin, traffic.get(device), world.withdrawn, now)
    return roster


def moment(world: World, now: float) -> Moment:
    """Returns what presence and health depend on besides the devices."""
    return Moment(now, world.silent_s, world.alerts)
