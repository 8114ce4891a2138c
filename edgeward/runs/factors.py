"""Which difference between a recorded run and its repetition changed the result.

Decides by experiments: first everything is restored as recorded, then one thing after the other is set to its
present value. The differences that must stay restored for the recorded result are the cause. Refuses to know how an
experiment is performed; source of the method: Zeller, "Isolating cause-effect chains from computer programs", FSE
2002.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from contract.run_differences import ORDER, Difference


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a search for the causes."""

    causes: tuple[Difference, ...]
    innocent: tuple[Difference, ...]
    experiments: int
    restored_repeats: bool
    """Whether the recorded result returns with everything restored."""


def find_causes(found: Sequence[Difference], repeats: Callable[[Sequence[Difference]], bool]) -> Finding:
    """Returns the smallest set of differences, in the order given, that explains the result.

    `repeats(restored)` performs the run with these differences restored as recorded and everything else at its present
    value, and returns whether the recorded result came.
    """
    search = _Search(list(found), repeats)
    if not found or not search.repeats_with(search.kept):
        return Finding((), tuple(found), search.experiments, restored_repeats=False)
    for group in _groups(found):
        if len(group) == 1 or not search.leave_out(group):
            for each in group:
                search.leave_out([each])
    innocent = tuple(each for each in found if each not in search.kept)
    return Finding(tuple(search.kept), innocent, search.experiments, restored_repeats=True)


class _Search:
    """The differences that are still restored, and the number of experiments so far."""

    def __init__(self, kept: list[Difference], repeats: Callable[[Sequence[Difference]], bool]) -> None:
        self.kept, self._repeats, self.experiments = kept, repeats, 0

    def leave_out(self, group: list[Difference]) -> bool:
        """Sets these to their present values permanently if the recorded result still returns."""
        rest = [each for each in self.kept if each not in group]
        if rest and self.repeats_with(rest):
            self.kept = rest
            return True
        return False

    def repeats_with(self, restored: list[Difference]) -> bool:
        self.experiments += 1
        return self._repeats(restored)


def _groups(found: Sequence[Difference]) -> list[list[Difference]]:
    """Differences of one kind together: for twenty libraries without effect one experiment is enough."""
    return [group for kind in ORDER if (group := [each for each in found if each.kind == kind])]
