"""What differs between two runs, in rows for a table.

Decides what is compared and in which order: results first, then their possible reasons. Refuses to know how it is
shown.
"""

from dataclasses import dataclass

from contract.run_differences import differences
from contract.run_record import Record


@dataclass(frozen=True, slots=True)
class Row:
    """One difference."""

    what: str
    before: str
    after: str


def compare(before: Record, after: Record) -> list[Row]:
    """Returns all differences of two runs: result, metrics, parameters, then code, data, libraries, threads, seeds."""
    rows = [Row("result", before.result[:16] or "-", after.result[:16] or "-")] if before.result != after.result else []
    for name in sorted(before.metrics.keys() | after.metrics.keys()):
        pair = [_number(each.metrics.get(name)) for each in (before, after)]
        rows += [Row(f"metric {name}", *pair)] if pair[0] != pair[1] else []
    for name in sorted(before.params.keys() | after.params.keys()):
        texts = [each.params.get(name, "-") for each in (before, after)]
        rows += [Row(f"param {name}", *texts)] if texts[0] != texts[1] else []
    found = differences(before, after)
    return [*rows, *(Row(f"{each.kind} {each.name}".strip(), each.recorded or "-", each.now or "-") for each in found)]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g}"
