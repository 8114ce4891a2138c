"""The label budget: which captured rows of a model people are asked about today.

Half of the rows are random, so that they stand for all, and half are those that the model was least sure of, from which
it learns most. Both are taken in turn from one kind of devices after the other, so that a large kind does not hide a
small one. Decides which rows. Refuses to know what a device may send: its own configuration has decided that.
"""

from collections.abc import Callable, Collection, Iterable, Sequence

import msgspec

from contract.captured import CapturedRow
from contract.names import unit_number

PER_DAY = 20
"""Labels that people are asked for, a day and model: some ten minutes of work, and 140 a week tell accuracy to within
6 points alone."""
DAY_S = 86_400.0
LOOK_BACK_S = 2 * DAY_S
"""Rows that are older are not asked for: the flag of the quality estimate needs the newest block."""


class Candidate(msgspec.Struct, frozen=True):
    """A captured row, and the kind of device that it is from."""

    id: int
    device: str
    kind: str
    row: CapturedRow


class Wanted(msgspec.Struct, frozen=True):
    """A row that somebody is asked about, and why it was chosen."""

    id: int
    device: str
    why: str
    """random | uncertain"""
    row: CapturedRow


def wanted_rows(found: Iterable[Candidate], given_today: int, today: str, per_day: int = PER_DAY) -> list[Wanted]:
    """Chooses what is left of the day's budget. The same rows are asked for until they have a label, or others come.

    `given_today`: labels that people have given since the day began. `today` makes the choice another one each day.
    """
    left = max(0, per_day - given_today)
    free = [each for each in found if each.row.label is None and each.row.value is not None]

    def chance(each: Candidate) -> tuple[float, ...]:
        return (unit_number(f"{today}/{each.id}"),)

    chosen = _in_turn(free, left // 2 + left % 2, chance)
    taken = {each.id for each in chosen}
    unsure = [each for each in free if each.id not in taken and each.row.confidence is not None]
    hard = _in_turn(unsure, left // 2, lambda each: (each.row.confidence or 0.0, *chance(each)))
    taken |= {each.id for each in hard}
    others = [each for each in free if each.id not in taken]
    more = _in_turn(others, left - len(chosen) - len(hard), chance)
    return [*_said([*chosen, *more], "random"), *_said(hard, "uncertain")]


def _in_turn(
    rows: Collection[Candidate], count: int, order: Callable[[Candidate], tuple[float, ...]]
) -> list[Candidate]:
    """The first `count` rows by `order`, one of each kind in turn, and within a kind one of each device in turn."""
    placed: dict[tuple[str, str], int] = {}
    kinds: dict[str, int] = {}
    by_device = []
    for each in sorted(rows, key=order):
        place = placed[each.kind, each.device] = placed.get((each.kind, each.device), -1) + 1
        by_device.append((place, each))
    by_kind = []
    for _, each in sorted(by_device, key=lambda pair: pair[0]):
        kinds[each.kind] = kinds.get(each.kind, -1) + 1
        by_kind.append((kinds[each.kind], each))
    return [each for _, each in sorted(by_kind, key=lambda pair: pair[0])[:count]]


def _said(rows: Sequence[Candidate], why: str) -> list[Wanted]:
    return [Wanted(each.id, each.device, why, each.row) for each in rows]
