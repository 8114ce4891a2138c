"""Data sets made of captured rows, and deletions of rows."""

from edgeward.answers.answer import Answer, Time


class DataSet(Answer, frozen=True):
    """One version of a data set."""

    name: str
    version: int
    model: str
    created_at: Time
    created_by: str
    sha256: str
    """The digest of the Parquet file; empty once its rows are deleted."""
    rows: int
    labelled: int
    size_bytes: int
    columns: dict[str, str]
    since: float
    until: float
    devices: int
    removed: tuple[str, ...] = ()
    keep_until: float = 0.0
    former: tuple[str, ...] = ()
    """Digests that it had before rows were deleted from it."""
    erased_rows: int = 0
    deleted_at: str = ""
    deleted_why: str = ""

    @property
    def reference(self) -> str:
        """`NAME@VERSION`."""
        return f"{self.name}@{self.version}"


class RowsLeftOut(Answer, frozen=True):
    """Captured rows of a version that the controller did not keep, because its registry has no such version."""

    model: str
    """Empty: versions beyond the first 64, together."""
    release: int
    rows: int
    """Since the controller started."""


class DataSetMade(Answer, frozen=True):
    """A version of a data set, and whether it was made by this call."""

    new: bool
    data_set: DataSet


class DataComparison(Answer, frozen=True):
    """What differs between two versions of a data set."""

    before: str
    after: str
    added: int
    gone: int
    relabelled: int
    columns_added: tuple[str, ...]
    columns_gone: tuple[str, ...]
    types_changed: dict[str, str]
    labels: dict[str, tuple[int, int]]
    means: dict[str, tuple[float, float]]


class Trained(Answer, frozen=True):
    """A version that was trained on deleted rows."""

    model: str
    release: int
    data_set: str
    run: str


class Deletion(Answer, frozen=True):
    """A request to delete rows, and its result."""

    id: str
    by: str
    reason: str
    asked_at: Time
    done_at: Time | None
    """None until all devices have answered."""
    took_s: float | None
    captured_rows: int
    data_sets: dict[str, int]
    devices: dict[str, int | None]
    """Rows deleted on each device; None: it has not answered yet."""
    trained: tuple[Trained, ...]
