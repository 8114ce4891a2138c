"""What differs between a recorded run and its repetition, and which difference changed the result.

Decides by experiments: first everything is restored as recorded, then one thing after the other is set to its present
value. What must stay restored to get the recorded result is the cause. Refuses to know how an experiment is performed;
source of the method: Zeller, "Isolating cause-effect chains from computer programs", FSE 2002.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from edgeward.runs.record import Record

Kind = Literal["code", "data", "library", "threads", "kernel", "seed"]
ORDER: tuple[Kind, ...] = ("code", "data", "library", "threads", "kernel", "seed")
"""Code is set to its present value first: code that names another seed is then distinguished from the seed."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that differs from the record."""

    kind: Kind
    name: str
    recorded: str
    now: str

    def __str__(self) -> str:
        """One line for people."""
        about = f"{self.kind} {self.name}".strip()
        return f"{about}: recorded {self.recorded or 'nothing'}, now {self.now or 'nothing'}"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a search for the causes has found."""

    causes: tuple[Difference, ...]
    innocent: tuple[Difference, ...]
    experiments: int
    restored_repeats: bool
    """Whether the recorded result returns with everything restored."""


def differences(recorded: Record, now: Record) -> list[Difference]:
    """Returns everything that may change a result and differs between two records, in `ORDER`."""
    found = [*_code(recorded, now), *_data(recorded, now), *_libraries(recorded, now)]
    found += _pairs("threads", recorded.threads.counts, now.threads.counts)
    found += _pairs("kernel", recorded.threads.kernels, now.threads.kernels)
    return [*found, *_pairs("seed", recorded.seeds, now.seeds)]


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
    """What is still restored, and the number of experiments so far."""

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
    """Differences of one kind together: twenty libraries that changed nothing cost one experiment."""
    return [group for kind in ORDER if (group := [each for each in found if each.kind == kind])]


def _code(recorded: Record, now: Record) -> list[Difference]:
    if recorded.entry.script_sha256 == now.entry.script_sha256 and recorded.code == now.code:
        return []
    return [Difference("code", "", _code_words(recorded), _code_words(now))]


def _code_words(record: Record) -> str:
    if record.code is None:
        return f"script {record.entry.script_sha256[:12]}"
    changed = f" with changes {record.code.diff_sha256[:12]}" if record.code.diff_sha256 else ""
    return f"commit {record.code.revision[:12]}{changed}, script {record.entry.script_sha256[:12]}"


def _data(recorded: Record, now: Record) -> list[Difference]:
    known = {each.name: f"{each.rows} rows {each.sha256[:12]}" for each in recorded.data}
    return _pairs("data", known, {each.name: f"{each.rows} rows {each.sha256[:12]}" for each in now.data})


def _libraries(recorded: Record, now: Record) -> list[Difference]:
    """Those that were used, and Python itself."""
    before, after = recorded.environment, now.environment
    used = {name: before.packages.get(name, "") for name in before.used}
    found = _pairs("library", used, {name: after.packages.get(name, "") for name in used})
    python = [Difference("library", "python", before.python, after.python)] if before.python != after.python else []
    return [*python, *found]


def _pairs(
    kind: Kind, before: dict[str, str] | dict[str, int], after: dict[str, str] | dict[str, int]
) -> list[Difference]:
    names = sorted(before.keys() | after.keys())
    pairs = [(name, str(before.get(name, "")), str(after.get(name, ""))) for name in names]
    return [Difference(kind, name, old, new) for name, old, new in pairs if old != new]
