"""The law that health reports: every problem of the controller's side that lasts a minute is reported within that
minute, until it ends.

After the faults nothing is reported any more.

Decides only from traces of the broker, of passes and of the store. Refuses to know which faults were planned.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from controller.health import PASS_LATE_INTERVALS
from firmware_sim.checkers.law import hold
from firmware_sim.controller import LOOK_S
from firmware_sim.world import FleetWorld

TOLD_WITHIN_S = 60.0
ONE_TROUBLE_S = 45.0
"""Two reads of a damaged blob that are further apart are two problems: it was not needed between them."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """A problem that lasted from `began` to `ended`, and the codes of which one must be reported."""

    codes: frozenset[str]
    began: float
    ended: float


def health_tells(world: FleetWorld) -> None:
    """Checks every problem that lasted longer than a minute, if a controller ran long enough to report
    it, and the end.
    """
    within_s = max(TOLD_WITHIN_S, PASS_LATE_INTERVALS * world.scenario.reconcile_s + 2 * LOOK_S)
    last_told = world.controller.told[-1][1]
    hold(not last_told, "well_again", "controller", world.clock.now, f"health tells {sorted(last_told or ())}")
    for born, died in _lives(world):
        for trouble in (*_of_the_broker(world), *_of_passes(world, born, died), *_of_blobs(world)):
            due, until = max(trouble.began, born) + within_s, min(trouble.ended, died)
            for at, told in _told_between(world, due, until):
                code = "|".join(sorted(trouble.codes))
                what = f"{code} since {trouble.began:.0f} s, and health tells {sorted(told) or 'that all is well'}"
                hold(bool(trouble.codes & told), "health_tells", "controller", at, what)


def _of_the_broker(world: FleetWorld) -> Iterator[Trouble]:
    history = [*world.network.broker_history, (world.clock.now, True)]
    for (began, up), (ended, _) in pairwise(history):
        if not up:
            yield Trouble(frozenset({"broker_lost"}), began, ended)


def _of_passes(world: FleetWorld, born: float, died: float) -> Iterator[Trouble]:
    """Returns the times between two good passes, in which others failed."""
    codes = frozenset({"passes_fail", "passes_late"})
    good = [at for at, well in world.controller.passes if well and born <= at <= died]
    for began, ended in pairwise((born, *good, died)):
        if any(not well for at, well in world.controller.passes if began < at < ended):
            yield Trouble(codes, began, ended)


def _of_blobs(world: FleetWorld) -> Iterator[Trouble]:
    """Returns the times in which every read of a blob found it damaged."""
    reads: dict[str, list[tuple[float, bool]]] = {}
    for at, digest, whole in world.controller.blobs.reads:
        reads.setdefault(digest, []).append((at, whole))
    for history in reads.values():
        began: float | None = None
        for (at, whole), (later, mended) in pairwise([*history, (float("inf"), True)]):
            if whole:
                continue
            began = at if began is None else began
            if mended or later - at > ONE_TROUBLE_S:
                yield Trouble(frozenset({"not_published"}), began, at)
                began = None


def _lives(world: FleetWorld) -> Iterator[tuple[float, float]]:
    """Returns (start, end) of each life of the controller."""
    born: float | None = None
    for at, told in world.controller.told:
        if told is None and born is not None:
            yield born, at
        born = None if told is None else at if born is None else born
    if born is not None:
        yield born, world.clock.now


def _told_between(world: FleetWorld, first: float, last: float) -> Iterator[tuple[float, frozenset[str]]]:
    """Returns (time, what is reported) at `first` and at every change up to `last`; nothing if it ends before it
    begins.
    """
    told = world.controller.told
    before = [codes for at, codes in told if at <= first]
    if first < last and before and before[-1] is not None:
        yield first, before[-1]
        yield from ((at, codes) for at, codes in told if first < at < last and codes is not None)
