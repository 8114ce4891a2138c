"""The measurements of an open rollout's members: read from the store once, then updated message by message.

Decides how far back a rollout looks, and which rows belong to its release. Refuses to know where telemetry is kept.
"""

from collections.abc import Iterable

from controller.drift.shape import Shape
from controller.reconcile.world import World, members_of
from controller.rollout.facts import BUCKET_S
from controller.rollout.model import JUDGED, Rollout
from controller.rollout.named import asks_for_answers, rows_for
from controller.rollout.rows import Rows

HISTORY_S = 2 * 86_400.0
"""Seconds before a rollout began: two days show the usual level of a device, with each hour of the day twice."""


def rows_of(world: World, rollout: Rollout) -> Rows:
    """Returns the rows of a rollout. At first use they are read from the store, also after a restart."""
    known = world.measured.rows.get(rollout.id)
    if known is None:
        known = world.measured.rows[rollout.id] = stored_rows(world, rollout)
    return known


def fleet_rows(world: World, rollout: Rollout, now: float) -> Rows:
    """Returns the newest `HISTORY_S` of measurements of members of a rollout that has not begun, of any version."""
    rows, members = rows_for(rollout.strategy.rules), {member.device for member in rollout.members}
    for device, _, start, sums in world.past(rollout.model, now - HISTORY_S):
        if device in members:
            rows.add_row(device, start, sums, treated=False)
    for device, _, start, shape in _answers(world, rollout, now - HISTORY_S):
        if device in members:
            rows.add_answers(device, start, shape.predictions, treated=False)
    return rows


def marks_of(rollout: Rollout) -> tuple[float, float]:
    """Minutes at which rows must be split, so that measurements before and after can be separated."""
    began, since = (-(-moment // BUCKET_S) * BUCKET_S for moment in (rollout.began_at, rollout.evidence_since))
    return began, since


def stored_rows(world: World, rollout: Rollout) -> Rows:
    """Rows that belong to a rollout, read from the store."""
    rows, members = rows_for(rollout.strategy.rules), members_of(world, rollout)
    for device, release, start, sums in world.past(rollout.model, rollout.began_at - HISTORY_S):
        treated = release == rollout.release
        if device in members and belongs(rollout, start, treated=treated):
            rows.add_row(device, start, sums, treated=treated)
    for device, release, start, shape in _answers(world, rollout, rollout.began_at - HISTORY_S):
        treated = release == rollout.release
        if device in members and belongs(rollout, start, treated=treated):
            rows.add_answers(device, start, shape.predictions, treated=treated)
    return rows


def _answers(world: World, rollout: Rollout, since: float) -> Iterable[tuple[str, int, float, Shape]]:
    """Returns stored shapes of the rollout's model; they are read only if a rule asks for a class."""
    return world.past_shapes(rollout.model, since) if asks_for_answers(rollout.strategy.rules) else ()


def belongs(rollout: Rollout, start: float, *, treated: bool) -> bool:
    """Whether a rollout uses what was measured at `start`: from `HISTORY_S` before it began.

    Of its own release only what was measured after it began: a late label from before that is not about it.
    """
    return start >= (rollout.began_at // BUCKET_S * BUCKET_S if treated else rollout.began_at - HISTORY_S)


def open_marks(world: World) -> tuple[float, ...]:
    """The marks of all rollouts that are judged."""
    judged = (rollout for rollout in world.durable.rollouts.values() if rollout.status in JUDGED)
    return tuple(mark for rollout in judged for mark in marks_of(rollout))
