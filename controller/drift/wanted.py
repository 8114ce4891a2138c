"""The label budget: the captured rows of a model that people are asked to label today.

Half of the rows are random, so that they represent all, and half are those about which the model was least sure,
from which it learns most. Both are chosen from one stratum after the other, so that each stratum gets rows. Decides
which rows. Refuses to know what a device may send: its own configuration decides that.
"""

from collections.abc import Callable, Collection, Iterable, Sequence

import msgspec

from contract.captured import CapturedRow
from contract.names import unit_number

PER_DAY = 20
"""Labels that people are asked for, per day and model: about ten minutes of work. 140 random ones a week give the
accuracy to within 6 points.
"""
DAY_S = 86_400.0
LOOK_BACK_S = 2 * DAY_S
"""Seconds. Older rows are not requested: the validity of the quality estimate depends on the newest block."""


class Candidate(msgspec.Struct, frozen=True):
    """A captured row, and the stratum of its device."""

    id: int
    device: str
    kind: str
    row: CapturedRow


class Wanted(msgspec.Struct, frozen=True):
    """A row that people are asked to label, and why it was chosen."""

    id: int
    device: str
    why: str
    """random | uncertain"""
    row: CapturedRow


def wanted_rows(found: Iterable[Candidate], given_today: int, today: str, per_day: int = PER_DAY) -> list[Wanted]:
    """Chooses the rest of the day's budget. The same rows are chosen until they have a label, or others come.

    `given_today`: labels that people have given since the day began. `today` changes the choice each day.
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
    """Returns the first `count` rows by `order`, one of each stratum in turn, and within a stratum one of each device
    in turn.
    """
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
