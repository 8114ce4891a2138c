"""Short functions for the verdict of a rule."""

from typing import Any, NamedTuple

from controller.rollout.analysis import Counts, Evidence, compared, judge
from controller.rollout.evidence import Compared
from controller.rollout.facts import BUCKET_S, Sums
from controller.rollout.model import Rule, Wave
from controller.rollout.rows import Rows
from controller.rollout.verdict import RuleVerdict

ALL = Wave(percent=100)


class Cell(NamedTuple):
    """One device in one minute: the release, and what runs beside it there. Without a name it is a device of its
    own."""

    treated: Sums = Sums()
    control: Sums = Sums()
    device: str = ""
    minute: int = 0


def rows(*found: Cell) -> Rows:
    made = Rows()
    for number, cell in enumerate(found):
        for treated, sums in ((True, cell.treated), (False, cell.control)):
            if sums != Sums():
                made.add(cell.device or f"own-{number}", cell.minute * BUCKET_S, sums, treated=treated)
    return made


def looked_at(*found: Cell) -> Compared:
    table = rows(*found).table()
    return compared(table, dict.fromkeys(table.names, ""), [""], 0.0)


def verdict(rule: Rule, *found: Cell, strata: int = 1, **counts: int) -> RuleVerdict:
    return judge(rule, Evidence(Counts(**counts), looked_at(*found), strata))


def word(rule: Rule, *found: Cell, **counts: Any) -> str:
    return verdict(rule, *found, **counts).word


def fleet(treated: Sums, control: Sums, *, canaries: int = 5, others: int = 20, past: Sums | None = None) -> list[Cell]:
    """So many devices with the release and without it, all alike, in one minute; with a past in the minute before."""
    cells = [Cell(treated, device=f"canary-{number}", minute=1) for number in range(canaries)]
    cells += [Cell(control=control, device=f"other-{number}", minute=1) for number in range(others)]
    if past is not None:
        cells += [Cell(control=past, device=cell.device, minute=0) for cell in cells]
    return cells
