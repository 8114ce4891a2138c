"""Devices that have reported a failure with a release: they do not get it again, also after its rollout has ended.

Decides from the end of an update that a device reports for the first time. Refuses to know the verdicts of
rollouts: those exclude only members of an open rollout.
"""

from collections.abc import Iterable, Iterator, Mapping

from msgspec.structs import replace

from contract.errors import Code
from contract.messages import ModelState, UpdateOutcome
from controller.fleet.twin import Twin
from controller.reconcile.world import World, holds
from controller.rollout.endings import Ending
from controller.rollout.model import Rollout
from controller.rollout.outcome import RETRYABLE

UNKNOWN_ROLLOUT = "a rollout that is not known here"
"""The name for a rollout that another controller, or this one before a restore, has started."""

Failed = tuple[str, str, UpdateOutcome]
"""(device, model, how its update ended)"""


def news_of_failures(before: Twin, after: Twin) -> Iterator[Failed]:
    """Returns the updates of one device that have failed permanently, and that `before` does not have."""
    for model, state in after.reported.items():
        ended = state.outcome
        if ended is not None and ended != _outcome(before.reported.get(model)) and _speaks_of_the_version(ended):
            yield after.device, model, ended


def keep_from_failed(world: World, news: Iterable[Failed]) -> tuple[set[str], set[tuple[str, str]]]:
    """Quarantines what has failed, in place. Returns (devices for which that is new, (rollout, device) with a changed
    ending).

    An ending that says that the device was sent back is replaced: it went back by itself.
    """
    kept_from, endings = set(), set()
    for device, model, ended in news:
        if not holds(world, model, ended.version):
            continue
        rollout = _newest_that_told(world, device, model, ended.version.digest)
        kept = world.durable.quarantine.setdefault(device, {})
        if ended.version.digest not in kept:
            kept[ended.version.digest] = rollout.id if rollout is not None else UNKNOWN_ROLLOUT
            kept_from.add(device)
        if rollout is not None and _replace_ending(world.durable.endings, rollout.id, device, ended):
            endings.add((rollout.id, device))
    return kept_from, endings


def _outcome(state: ModelState | None) -> UpdateOutcome | None:
    return state.outcome if state is not None else None


def _speaks_of_the_version(ended: UpdateOutcome) -> bool:
    """Whether the device dropped the version for a reason that would occur again."""
    passing = ended.code in RETRYABLE or ended.code == Code.SUPERSEDED
    return ended.result in ("rolled_back", "rejected") and not passing


def _newest_that_told(world: World, device: str, model: str, digest: str) -> Rollout | None:
    for rollout in reversed(world.durable.rollouts.values()):
        told = (member.device for member in rollout.members if member.wave <= rollout.wave)
        if rollout.model == model and rollout.carries(digest) and device in told:
            return rollout
    return None


def _replace_ending(known: dict[str, dict[str, Ending]], rollout: str, device: str, ended: UpdateOutcome) -> bool:
    """Replaces an ending in place; returns whether it has changed."""
    kept: Mapping[str, Ending] = known.get(rollout, {})
    ending = kept.get(device)
    if ending is None or ending.outcome != "sent_back":
        return False
    word = "rejected" if ended.result == "rejected" else "failed"
    known[rollout] = {**kept, device: replace(ending, outcome=word, code=ended.code, detail=ended.detail)}
    return True
