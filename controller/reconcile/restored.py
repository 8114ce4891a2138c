"""The first steps of a controller after a restore from a backup, before its first pass: devices have newer facts.

Decides what must not continue by itself, and that every document is issued again, with a version ahead of those
that were lost. The versions that devices run stay: the restored orders are older than what they were told since.
Refuses to know how the backup was restored.
"""

from msgspec.structs import replace

from controller.reconcile.documents import issue_again
from controller.reconcile.world import World
from controller.rollout.model import FINAL, Rollout


def take_up(world: World, backed_up_at: str, now: float) -> tuple[list[str], list[Rollout]]:
    """Returns (devices whose documents were issued again, rollouts that were ended), all changed in place.

    A rollout that was open in the backup may have ended long ago, and devices may run something newer. It is ended
    without any roll back. An operator may start it again, with a new plan.
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
