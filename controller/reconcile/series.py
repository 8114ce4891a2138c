"""Chooses the verdicts that are kept as a series.

Decides that a changed verdict is kept at once, and an unchanged one more rarely the longer the rollout lasts. Refuses
to know where series are kept.
"""

from collections.abc import Iterable

import msgspec

from controller.reconcile.world import World
from controller.rollout.model import Rollout
from controller.rollout.verdict import RuleVerdict

SHORTEST_S = 60.0
LONGER_BY = 0.02
"""The time between two points as a fraction of the time since the rollout began: 400 points in the first month,
at any rate of passes.
"""


class VerdictPoint(msgspec.Struct, frozen=True):
    """The verdict of a rule on a rollout at one moment."""

    rollout: str
    at: float
    """Seconds since 1970."""
    verdict: RuleVerdict
    is_news: bool = False
    """Whether the word differs from that of the point before."""


def points_of(world: World, rollout: Rollout, verdicts: Iterable[RuleVerdict], now: float) -> Iterable[VerdictPoint]:
    """Returns the points of this pass that are kept; they are noted in `world`."""
    pause_s = max(SHORTEST_S, LONGER_BY * (now - rollout.began_at))
    for verdict in verdicts:
        key = (rollout.id, verdict.rule, verdict.stratum)
        at, word = world.measured.told.get(key, (0.0, ""))
        if word != verdict.word or now - at >= pause_s:
            world.measured.told[key] = (now, verdict.word)
            yield VerdictPoint(rollout.id, now, verdict, word != verdict.word)
