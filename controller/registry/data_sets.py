"""Versions of data sets: captured rows with their labels as Parquet files, each under its name and number.

Decides what a version records, that the same rows make no second version, and the rows that remain after a
deletion. Refuses to know who asks, and where rows come from. Rows are plain columns.
"""

import hashlib
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from contract.captured import CapturedRow
from contract.erasure import Erasure
from contract.errors import BadInput, Code
from contract.names import check_name
from controller.registry.atomic_file import replace_file
from controller.registry.database import open_database, transaction

MAX_NAMED = 5
"""The most versions that an error names: the newest ones."""
MAX_VERSIONS = 1_000
"""The most versions of one data set, including deleted ones: one a day for three years."""
MAX_ROWS = 1_000_000
"""The most rows of one version: as many captured rows as a model may have."""
MAX_COLUMNS = 1_024
"""The most columns of one version: twice those that a device sends of a row, for versions with other columns."""
MAX_CELLS = 200_000_000
"""The most rows times columns: the file is made column by column, in 20 s at this size."""
ABOUT = ("_id", "_at", "_device", "_release", "_answer", "_key", "_why", "_value", "_confidence", "_label")
"""Columns about the inference; inputs have their own names."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS data_sets (name TEXT NOT NULL, number INTEGER NOT NULL, body BLOB NOT NULL,
                                      PRIMARY KEY (name, number));
"""
_REFERENCE = re.compile(r"([^@]+)@([0-9]+|newest)\Z")


class DataSet(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a data set."""

    name: str
    version: int
    model: str
    created_at: str
    created_by: str
    sha256: str
    """SHA-256 of the Parquet file; empty once the version is deleted."""
    rows: int
    labelled: int
    size_bytes: int
    columns: dict[str, str]
    """Type by column."""
    since: float = 0.0
    until: float = 0.0
    """When the rows were captured, in seconds since 1970."""
    devices: int = 0
    removed: tuple[str, ...] = ()
    """Columns that were left out when it was made."""
    keep_until: float = 0.0
    """When it is deleted automatically, in seconds since 1970; 0: never."""
    former: tuple[str, ...] = ()
    """Digests that it had before rows were deleted from it."""
    erased_rows: int = 0
    deleted_at: str = ""
    deleted_why: str = ""

    @property
    def reference(self) -> str:
        """`NAME@VERSION`, by which runs and versions name it."""
        return f"{self.name}@{self.version}"


class DataSets:
    """Data sets in one directory: records in SQLite, rows in Parquet files. Needs pyarrow."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._db = open_database(directory / "data_sets.sqlite", _SCHEMA)
        self._finish_interrupted()

    def close(self) -> None:
        """Closes the connection."""
        self._db.close()

    def all(self, name: str = "") -> list[DataSet]:
        """Returns every version, oldest first, including deleted ones; only of one data set if it is named."""
        found = self._db.execute(
            "SELECT body FROM data_sets WHERE ? IN ('', name) ORDER BY name, number", (name,)
        ).fetchall()
        return [msgspec.json.decode(body, type=DataSet) for (body,) in found]

    def find(self, reference: str) -> DataSet:
        """Returns the version of `NAME@NUMBER` or `NAME@newest`. BadInput `unknown_data_set`."""
        named = _REFERENCE.match(reference)
        versions = self.all(named[1]) if named else []
        wanted = versions[-1:] if named and named[2] == "newest" else [v for v in versions if v.reference == reference]
        if not wanted:
            raise BadInput(Code.UNKNOWN_DATA_SET, _what_there_is(reference, named, [each.version for each in versions]))
        return wanted[0]

    def put(self, about: DataSet, file: "RowsFile") -> tuple[DataSet, bool]:
        """Stores a file as the next version; returns (the version, whether it is new). The same file makes no second
        one.

        `about` has all fields that do not follow from the rows. BadInput `request_invalid` for too many versions.
        """
        check_name(about.name, "data set")
        known = self.all(about.name)
        if len(known) >= MAX_VERSIONS:
            raise BadInput(Code.REQUEST_INVALID, f"{about.name} has {len(known)} versions, limit {MAX_VERSIONS}")
        if known and known[-1].sha256 == file.sha256:
            return known[-1], False
        made = msgspec.structs.replace(
            about, version=len(known) + 1, sha256=file.sha256, size_bytes=len(file.content), columns=file.columns,
            **file.figures,
        )  # fmt: skip
        replace_file(self._path(made), file.content)
        self._save(made)
        return made, True

    def content(self, data_set: DataSet) -> bytes:
        """Returns the verified Parquet file of a version. BadInput `unknown_data_set` if its rows are deleted,
        `store_corrupt` if the file is missing or damaged.
        """
        _refuse_deleted(data_set)
        with _readable(data_set):
            content = self._path(data_set).read_bytes()
        if hashlib.sha256(content).hexdigest() != data_set.sha256:
            raise _unreadable(data_set, "damaged")
        return content

    def check(self, data_set: DataSet) -> None:
        """Verifies the file of a version piece by piece. BadInput as of `content`."""
        _refuse_deleted(data_set)
        with _readable(data_set), self._path(data_set).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != data_set.sha256:
            raise _unreadable(data_set, "damaged")

    def column(self, data_set: DataSet, name: str) -> Any:
        """Returns one column of a version as a pyarrow array. The file is not verified: `check` does that once.

        BadInput `unknown_data_set` if its rows are deleted, `store_corrupt` if the file is missing or no Parquet file.
        """
        from pyarrow import parquet

        _refuse_deleted(data_set)
        with _readable(data_set):
            return parquet.read_table(self._path(data_set), columns=[name]).column(name)

    def rows_of(self, data_set: DataSet) -> list[dict[str, Any]]:
        """The rows of a version by column. BadInput as of `content`."""
        from pyarrow import parquet

        content = self.content(data_set)
        with _readable(data_set):
            found: list[dict[str, Any]] = parquet.read_table(io.BytesIO(content)).to_pylist()
        return found

    def delete(self, data_set: DataSet, *, at: str, why: str) -> DataSet:
        """Deletes the rows of a version; its record stays, for the lineage of models."""
        gone = msgspec.structs.replace(
            data_set, sha256="", former=_formerly(data_set), deleted_at=at, deleted_why=why, size_bytes=0
        )
        self._save(gone)
        self._path(data_set).unlink(missing_ok=True)
        return gone

    def without(self, data_set: DataSet, chosen: "Chosen") -> DataSet | None:
        """Returns the version without the rows of an order, with its file beside the old one; None if it has none
        of these rows. Any thread may call: a million rows take seconds. `put_left` puts it in force.

        BadInput as of `content`.
        """
        rows = self.rows_of(data_set)
        kept = [row for row in rows if not chosen.has(data_set.model, row)]
        if len(kept) == len(rows):
            return None
        content, columns = _parquet(kept) if kept else (b"", data_set.columns)
        if kept:
            replace_file(_beside(self._path(data_set)), content)
        return msgspec.structs.replace(
            data_set,
            sha256=hashlib.sha256(content).hexdigest() if kept else "",
            former=_formerly(data_set),
            rows=len(kept),
            labelled=sum(row["_label"] is not None for row in kept),
            size_bytes=len(content),
            columns=columns,
            erased_rows=data_set.erased_rows + len(rows) - len(kept),
        )

    def put_left(self, left: DataSet, *, at: str, why: str) -> None:
        """Replaces the version by the result of `without`, unless it was deleted in the meantime.

        The record is durable first: after a kill, the next start gives it its file (`_finish_interrupted`).
        """
        path = self._path(left)
        if not self.find(left.reference).sha256:
            _beside(path).unlink(missing_ok=True)
            return
        if left.sha256:
            self._save(left)
            _beside(path).replace(path)
            return
        self._save(msgspec.structs.replace(left, deleted_at=at, deleted_why=why))
        path.unlink(missing_ok=True)

    def _finish_interrupted(self) -> None:
        """Completes what a kill has interrupted: rows that were to be deleted must not stay in a file."""
        for each in self.all():
            path, beside = self._path(each), _beside(self._path(each))
            if not each.sha256:
                path.unlink(missing_ok=True)
            if beside.exists():
                with beside.open("rb") as file:
                    is_next = hashlib.file_digest(file, "sha256").hexdigest() == each.sha256
                if is_next:
                    beside.replace(path)
                else:  # the deletion goes on after the start and makes it again
                    beside.unlink()

    def _save(self, data_set: DataSet) -> None:
        with transaction(self._db):
            self._db.execute(
                "INSERT INTO data_sets VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET body = excluded.body",
                (data_set.name, data_set.version, msgspec.json.encode(data_set)),
            )

    def _path(self, data_set: DataSet) -> Path:
        place = self._directory / data_set.name
        place.mkdir(parents=True, exist_ok=True)
        return place / f"{data_set.version}.parquet"


def columns_of(number: int, device: str, row: CapturedRow, removed: Iterable[str]) -> dict[str, Any]:
    """Returns a captured row as columns: first those about the inference, then its inputs without the removed ones.

    An input with the name of a column about the inference is left out: a device must not be able to replace that one.
    """
    left_out = frozenset(removed)
    about = {
        "_id": number,
        "_at": row.at,
        "_device": device,
        "_release": row.release,
        "_answer": row.id,
        "_key": row.key,
        "_why": row.why,
        "_value": None if row.value is None else str(row.value),
        "_confidence": row.confidence,
        "_label": None if row.label is None else str(row.label),
    }
    return {
        **{name: None if name in left_out else cell for name, cell in about.items()},
        **{name: cell for name, cell in row.inputs.items() if name not in left_out and name not in about},
    }


class RowsFile(msgspec.Struct, frozen=True):
    """The rows of a version as a Parquet file, and what is recorded of them."""

    content: bytes
    sha256: str
    columns: dict[str, str]
    """Type by column."""
    figures: dict[str, Any]
    """Fields of `DataSet` that follow from the rows."""


def rows_file(rows: Sequence[Mapping[str, Any]]) -> RowsFile:
    """Makes the file of rows; any thread may, and for a million rows one should. BadInput `request_invalid` for no
    rows, too many, or too many columns.
    """
    if not 0 < len(rows) <= MAX_ROWS:
        raise BadInput(Code.REQUEST_INVALID, f"{len(rows)} rows: a data set has 1 to {MAX_ROWS}")
    width = len({name for row in rows for name in row})
    if width > MAX_COLUMNS or width * len(rows) > MAX_CELLS:
        words = f"{len(rows)} rows of {width} columns: the limits are {MAX_COLUMNS} columns and {MAX_CELLS} cells"
        raise BadInput(Code.REQUEST_INVALID, f"{words}; choose fewer with --since, or leave columns out with --remove")
    content, columns = _parquet(rows)
    times = [float(row["_at"]) for row in rows]
    figures = {
        "rows": len(rows),
        "labelled": sum(row["_label"] is not None for row in rows),
        "since": min(times),
        "until": max(times),
        "devices": len({row["_device"] for row in rows}),
    }
    return RowsFile(content, hashlib.sha256(content).hexdigest(), columns, figures)


@dataclass(frozen=True, slots=True)
class Chosen:
    """The rows of an order."""

    order: Erasure
    devices: frozenset[str] | None
    """None: of all."""
    numbers: frozenset[int]
    """Ids of captured rows that it was about: a version whose keys were left out for privacy has only these."""

    def has(self, model: str, row: Mapping[str, Any]) -> bool:
        """Tells whether a row of a data set about `model` is to be deleted."""
        if row["_id"] in self.numbers:
            return self.order.model in ("", model)
        captured = CapturedRow(
            at=row["_at"], model=model, release=0, why="sampled", inputs={}, value=None,
            id=row["_answer"] or "", key=row["_key"] or "",
        )  # fmt: skip
        return self.order.matches(captured) and (self.devices is None or row["_device"] in self.devices)


def _refuse_deleted(data_set: DataSet) -> None:
    if not data_set.sha256:
        words = f"the rows of {data_set.reference} were deleted at {data_set.deleted_at}: {data_set.deleted_why}"
        raise BadInput(Code.UNKNOWN_DATA_SET, words)


@contextmanager
def _readable(data_set: DataSet) -> Iterator[None]:
    """Turns a missing or damaged file into BadInput `store_corrupt`."""
    try:
        yield
    except FileNotFoundError:
        raise _unreadable(data_set, "missing") from None
    except (OSError, ValueError, KeyError, NotImplementedError):  # pyarrow's exceptions are subclasses of these
        raise _unreadable(data_set, "damaged") from None


def _unreadable(data_set: DataSet, how: str) -> BadInput:
    words = (
        f"the file of {data_set.reference} is {how}: restore it from a backup, or delete it with edgeward data delete"
    )
    return BadInput(Code.STORE_CORRUPT, words)


def _beside(path: Path) -> Path:
    """The path of a new file that will replace `path`."""
    return path.with_suffix(".left")


def _formerly(data_set: DataSet) -> tuple[str, ...]:
    return (*data_set.former, data_set.sha256)


def _parquet(rows: Sequence[Mapping[str, Any]]) -> tuple[bytes, dict[str, str]]:
    """Returns (file, type by column). A column with cells of several types becomes text. The same rows give the same
    bytes.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        words = "data sets need pyarrow where the controller runs: pip install 'edgeward[parquet]'"
        raise BadInput(Code.CONFIG_INVALID, words) from None
    names = list(dict.fromkeys([*ABOUT, *sorted({name for row in rows for name in row})]))
    arrays = []
    for name in names:
        cells = [row.get(name) for row in rows]
        try:
            arrays.append(pyarrow.array(cells))
        except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError, OverflowError):
            arrays.append(pyarrow.array([None if cell is None else str(cell) for cell in cells]))
    table = pyarrow.table(dict(zip(names, arrays, strict=True)))
    file = io.BytesIO()
    parquet.write_table(table, file, compression="zstd")
    return file.getvalue(), {field.name: str(field.type) for field in table.schema}


def _what_there_is(reference: str, named: "re.Match[str] | None", versions: Sequence[int]) -> str:
    """Says why a reference finds nothing, and what exists."""
    if named is None:
        return f"{reference[:80]!r} names no data set: expected NAME@NUMBER or NAME@newest"
    if not versions:
        return f"no data set {named[1][:80]!r}; `edgeward data list` shows all"
    there = ", ".join(map(str, versions[-MAX_NAMED:]))
    older = " and older ones" if len(versions) > MAX_NAMED else ""
    return f"{named[1][:80]} has no version {named[2]}; it has {there}{older}"
