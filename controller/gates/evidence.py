"""What the gates judge: numbers of the conversion, answers on held-out rows, versions that devices run. All are
measurements.

Decides how right an answer is: 1 or 0 for a classifier, the absolute error for a regression. Refuses to know who
measured.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

import msgspec
import numpy as np

from contract.labels import plain_label
from contract.manifest import Manifest
from contract.tensors import Array
from contract.wire import Message
from controller.gates.parity import Parity
from controller.gates.verdict import GateVerdict

Task = Literal["classification", "regression", "other"]
Ratio = Annotated[float, msgspec.Meta(ge=0, le=1)]


class ChampionRule(Message, frozen=True):
    """How much better than the champion a retrained version must be."""

    blocks: Annotated[int, msgspec.Meta(ge=2, le=100)] = 8
    """Blocks of time into which the newest held-out rows are divided."""
    confidence: Annotated[float, msgspec.Meta(gt=0.5, lt=1)] = 0.8
    """The confidence of the two-sided interval of the gain."""
    min_gain: Ratio = 0.0
    """The low end of the gain's interval must lie above this: accuracy, or the error as a fraction of the champion's.
    """
    max_forgotten: Ratio = 0.05
    """How much worse than the champion it may be on the rows that it must never forget."""
    never_forget_required: bool = False
    """Whether a candidate without such rows fails."""
    never_forget_sha256: str = ""
    """The digest of the only rows that count as the fixed set; empty: any."""


def plain_texts(labels: Array) -> Array:
    """Returns labels in the one spelling by which they compare, as on devices: 1, "1", 1.0 and True are the same. Text,
    of the shape of `labels`.
    """
    unique, inverse = np.unique(labels.astype(np.str_), return_inverse=True)
    plain = np.array([str(plain_label(each)) for each in unique.tolist()], dtype=np.str_)
    return np.asarray(plain[inverse].reshape(labels.shape)) if len(unique) else labels.astype(np.str_)


def unknown_labels(labels: Array, classes: tuple[str, ...]) -> dict[str, int]:
    """Returns the number of rows by label, of labels, shape (rows,), that are no class; empty if no
    classes are known.
    """
    known = {plain_label(each) for each in classes}
    unique, counts = np.unique(labels.astype(np.str_), return_counts=True)
    pairs = zip(unique.tolist(), counts.tolist(), strict=True)
    return {label: count for label, count in pairs if known and plain_label(label) not in known}


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Held-out rows: their labels, and what the version and the champion answer. Arrays have the shape (rows,)."""

    task: Task
    labels: Array
    answers: Array
    champion: Array | None = None
    """The answers of the version that the alias champion names; None without one, or if it cannot answer them."""
    champion_name: str = ""
    groups: Mapping[str, Array] = field(default_factory=dict)
    """The value of each row as text, by name of a group."""
    times: Array | None = None
    """Seconds of each row."""
    classes: tuple[str, ...] = ()
    """All classes that the version can answer; empty: unknown."""
    trained_until: float | None = None
    """The time in seconds of the newest row in the training."""
    fitted_until: Array | None = None
    """The same for each row, if `answers` are of a backtest: of the earlier fit that has answered it, shape (rows,)."""
    own_answers: Array | None = None
    """The answers of the version itself, if `answers` are of a backtest; it may have learned these rows."""
    champion_until: float | None = None
    """The time in seconds of the newest row in the training of the champion; None: unknown."""

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(self.labels)

    @property
    def classifies(self) -> bool:
        """Whether answers are right or wrong; otherwise they have a distance."""
        return self.task == "classification"

    @property
    def unknown(self) -> dict[str, int]:
        """Returns the number of rows by label that is no class of the version; empty if its classes are not known."""
        return unknown_labels(self.labels, self.classes) if self.classifies else {}

    def scores(self, answers: Array) -> Array:
        """Returns how right each answer is, float64 of shape (rows,): larger is better for a classifier, worse for a
        regression.
        """
        if self.classifies:
            return np.asarray(plain_texts(np.asarray(answers)) == plain_texts(self.labels)).astype(np.float64)
        return np.abs(np.asarray(answers, dtype=np.float64).reshape(-1) - self.labels.astype(np.float64))


@dataclass(frozen=True, slots=True)
class Caller:
    """A version that devices run, and how many of them."""

    release: int
    manifest: Manifest
    devices: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that is known of a version before its gates judge it."""

    manifest: Manifest
    parity: Parity
    load_mb: float
    latency_us_p50: float | None = None
    latency_us_p95: float | None = None
    operators: tuple[str, ...] | None = None
    """Operators of the graph, sorted; None: they were not read."""
    held_out: HeldOut | None = None
    callers: tuple[Caller, ...] = ()
    licence: str = ""
    own: tuple[GateVerdict, ...] = ()
    """Verdicts of the user's own gates, as the push sent them."""
    never_forget: HeldOut | None = None
    """The fixed rows that no retrained version may forget."""
    never_forget_sha256: str = ""
    retrained_by: ChampionRule | None = None
    """The requirements of a retrained version; None for one that a person pushes."""
    data_sets: tuple[str, ...] = ()
    """`NAME@VERSION` of the data sets that the version names."""
    lost_rows: Mapping[str, str] = field(default_factory=dict)
    """The deleted rows of each data set on which the version may have been trained, in words."""
