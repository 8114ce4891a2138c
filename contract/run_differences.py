"""The differences between the records of two runs that may change a result.

Decides which differences may do so, and their order. Refuses to know whether a difference matters.
"""

from dataclasses import dataclass
from typing import Literal

from contract.run_record import Record

Kind = Literal["code", "data", "library", "threads", "kernel", "seed"]
ORDER: tuple[Kind, ...] = ("code", "data", "library", "threads", "kernel", "seed")
"""Code comes first: a seed that is written in the code is then shown as a change of code."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference from the record."""

    kind: Kind
    name: str
    recorded: str
    now: str

    def __str__(self) -> str:
        """One line for people."""
        about = f"{self.kind} {self.name}".strip()
        return f"{about}: recorded {self.recorded or 'nothing'}, now {self.now or 'nothing'}"


def differences(recorded: Record, now: Record) -> list[Difference]:
    """Returns everything that may change a result and differs between two records, in `ORDER`."""
    found = [*_code(recorded, now), *_data(recorded, now), *_libraries(recorded, now)]
    found += _pairs("threads", recorded.threads.counts, now.threads.counts)
    found += _pairs("kernel", recorded.threads.kernels, now.threads.kernels)
    return [*found, *_pairs("seed", recorded.seeds, now.seeds)]


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
    """The distributions that were used, and Python itself."""
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
