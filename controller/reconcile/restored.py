"""What a controller does once after it was restored from a backup, before its first pass: devices know more than it.

Decides what must not go on by itself, and that every document is issued anew, so that its version is ahead of those
that were lost. What devices run stays: orders of before are older than what they were told since. Refuses to know how
the backup came here.
"""

from msgspec.structs import replace

from controller.reconcile.documents import issue_again
from controller.reconcile.world import World
from controller.rollout.model import FINAL, Rollout


def take_up(world: World, backed_up_at: str, now: float) -> tuple[list[str], list[Rollout]]:
    """(devices whose documents were issued anew, rollouts that were ended), all changed in place.

    A rollout that was open in the backup may have ended long ago, and devices may run something newer: it is ended as
    it stands, and nobody is sent back. Whoever wants it starts it again, with a plan of what devices run by then.
    """
    durable = world.durable
    why = f"this controller was restored from the backup of {backed_up_at}: start it again if it is still wanted"
    ended = [
        replace(rollout, status="aborted", reason=why, returning_since=None)
        for rollout in durable.rollouts.values()
        if rollout.status not in FINAL
    ]
    durable.rollouts.update({rollout.id: rollout for rollout in ended})
    known = [twin for twin in durable.twins.values() if twin.document_version]
    for twin in known:
        issue_again(world, twin, now)
    return [twin.device for twin in known], ended
