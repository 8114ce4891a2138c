"""A sequence of answers that prints as a table and becomes a DataFrame.

Decides the columns (those that the answers name, in the order in which they first appear) and how many rows print.
Refuses to know what the rows mean.
"""

import html
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

import msgspec

from edgeward.answers.answer import Answer, show

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T", bound=Answer)
MAX_PRINTED_ROWS = 30
"""The number of rows that print; further rows are only counted. A screen shows about 30."""


class Table(Sequence[T], Generic[T]):
    """An immutable sequence of answers of one kind."""

    def __init__(self, rows: Iterable[T] = ()) -> None:
        self._rows = tuple(rows)

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> "Table[T]": ...

    def __getitem__(self, index: int | slice) -> "T | Table[T]":
        return Table(self._rows[index]) if isinstance(index, slice) else self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[T]:
        return iter(self._rows)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Table) and self._rows == other._rows

    def __hash__(self) -> int:
        return hash(self._rows)

    @property
    def plain(self) -> list[dict[str, Any]]:
        """The JSON that the controller sent."""
        return [row.plain for row in self._rows]

    def to_frame(self) -> "pd.DataFrame":
        """Returns a DataFrame with the rows' fields as columns; times are Timestamps in UTC."""
        import pandas as pd  # takes 0.4 s to import, so it is imported only for a frame

        rows = self._table_rows()
        frame = pd.DataFrame(rows, columns=_columns(rows))
        for name in frame.columns:
            if any(isinstance(row.get(name), datetime) for row in rows):
                frame[name] = pd.to_datetime(frame[name], utc=True)
        return frame.astype({name: "float64" for name in self._numbers() if name in frame.columns})

    def __repr__(self) -> str:
        columns, cells, left_out = self._printed()
        widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
        lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in cells]
        head = "  ".join(text.ljust(width) for text, width in zip(columns, widths, strict=True))
        return "\n".join(line.rstrip() for line in (head or "(no rows)", *lines, *left_out))

    def _repr_html_(self) -> str:
        """Returns an HTML table for notebooks; every text is escaped."""
        columns, cells, left_out = self._printed()
        head = _html_row(columns, "th")
        body = "".join(_html_row(row, "td") for row in cells)
        return f"<table><thead>{head}</thead><tbody>{body}</tbody></table>{''.join(left_out)}"

    def _numbers(self) -> list[str]:
        """Returns the fields that hold a number or None: pandas takes a column of only None for one of objects."""
        kinds = {type(answer) for answer in self._rows}
        return [field.name for kind in kinds for field in msgspec.structs.fields(kind) if field.type == float | None]

    def _table_rows(self) -> list[dict[str, object]]:
        return [row for answer in self._rows for row in answer.table_rows()]

    def _printed(self) -> tuple[list[str], list[list[str]], list[str]]:
        """Returns (columns, cells as texts, a sentence about rows that are not printed)."""
        rows = [row for answer in self._rows[:MAX_PRINTED_ROWS] for row in answer.table_rows()]
        columns = _columns(rows)
        cells = [[_cell(row.get(name)) for name in columns] for row in rows]
        more = len(self._rows) - MAX_PRINTED_ROWS
        return columns, cells, [f"... and {more} more"] if more > 0 else []


def _columns(rows: Iterable[dict[str, object]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return " ".join(show(value)[1:-1].split()) if isinstance(value, str) else show(value)


def _html_row(texts: Sequence[str], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(text)}</{tag}>" for text in texts) + "</tr>"
