"""Drifted distributions, estimated quality, breaches of the data contract, fairness between groups, rows to be
labelled.
"""

from typing import Literal

from edgeward.answers.answer import Answer
from edgeward.answers.models import CapturedRow


class Moved(Answer, frozen=True):
    """How far one distribution has moved."""

    distance: float
    """The fraction of rows that lie in other bins than the reference's."""
    usual: float | None
    """The median movement of the reference's own blocks."""
    limit: float | None
    """The limit that follows from the reference's past; None if the past is too short."""
    rows: int
    rows_effective: float
    """The number of independent rows to which a block is equivalent, judged by how much blocks differ."""
    bin: int
    gained: float


class Bin(Answer, frozen=True):
    """One bin of a distribution: rows now, in the blocks before, and in the sample of the model."""

    words: str
    now: int
    before: int
    reference: int | None
    """None: the sample has no counts of it."""


class Ranked(Answer, frozen=True):
    """One distribution, and how far it has moved."""

    what: str
    sort: Literal["input", "answer", "confidence"]
    moved: Moved
    towards: str
    """Which values have become more frequent, in words."""
    bins: tuple[Bin, ...] = ()

    @property
    def is_beyond(self) -> bool:
        """Whether it moved further than usual in its own past."""
        return self.moved.limit is not None and self.moved.distance > self.moved.limit

    def table_rows(self) -> list[dict[str, object]]:
        """One row, with the figures after the name."""
        (moved,) = self.moved.table_rows()
        return [{"what": self.what, "sort": self.sort} | moved | {"towards": self.towards, "beyond": self.is_beyond}]


class DeviceMoved(Answer, frozen=True):
    """A device, or a stratum, and its input that moved most."""

    device: str
    what: str
    distance: float
    rows: int


class Between(Answer, frozen=True):
    """The distance between trial and control in one input."""

    what: str
    distance: float
    probability: float
    """The probability that exchanged devices lie as far apart."""
    trial: int
    control: int


class QualityEstimate(Answer, frozen=True):
    """Estimated accuracy without labels; value, low and high are None if there is no estimate."""

    value: float | None
    low: float | None
    high: float | None
    valid: bool
    why: str
    rows: int
    labels: int
    usual: float | None


class BreachRate(Answer, frozen=True):
    """How many cells of a column break the data contract in one way: missing, out_of_range, unseen, stuck."""

    what: str
    kind: str
    breaches: int
    rows: int
    rate: float
    low: float
    high: float
    devices: dict[str, float]
    """The highest rates of devices."""


class Rate(Answer, frozen=True):
    """One rate of one group, with its interval; None if no row of the group counts for it."""

    value: float | None
    low: float | None
    high: float | None
    rows: int


class GroupRates(Answer, frozen=True):
    """The rates of one group."""

    value: str
    rows: int
    selection: Rate
    true_positive: Rate
    false_positive: Rate


class GroupFairness(Answer, frozen=True):
    """One group column: its groups, and Fairlearn's measures between them."""

    column: str
    groups: tuple[GroupRates, ...]
    suppressed: int
    """Groups that are too small to be shown."""
    measures: dict[str, float]
    difference: Rate
    """The demographic parity difference with its interval."""
    devices: int


class Fairness(Answer, frozen=True):
    """The rates of one version by group."""

    model: str
    release: int
    days: float
    devices: int
    columns: tuple[GroupFairness, ...]

    def table_rows(self) -> list[dict[str, object]]:
        """One row for each group."""
        return [
            {
                "column": column.column,
                "group": group.value,
                "rows": group.rows,
                "selection_rate": group.selection.value,
                "selection_low": group.selection.low,
                "selection_high": group.selection.high,
                "true_positive_rate": group.true_positive.value,
                "false_positive_rate": group.false_positive.value,
            }
            for column in self.columns
            for group in column.groups
        ]


class Signal(Answer, frozen=True):
    """One figure of a model that rules of alerts read."""

    model: str
    kind: Literal["estimated_quality", "contract_breach_ratio", "fairness", "drift"]
    value: float | None
    low: float | None
    high: float | None
    limit: float | None
    n: int
    devices: int
    valid: bool
    why: str
    of: str


class Drift(Answer, frozen=True):
    """The drift of the data of one version; as a table one row for each distribution, the largest movement first."""

    model: str
    release: int
    days: float
    devices: int
    says: str
    moved: tuple[Ranked, ...]
    by_device: tuple[DeviceMoved, ...]
    by_kind: tuple[DeviceMoved, ...]
    quality_estimate: QualityEstimate
    breaches: tuple[BreachRate, ...]
    fairness: tuple[GroupFairness, ...]
    trial: str
    trial_beside_control: tuple[Between, ...]
    signals: tuple[Signal, ...]

    def table_rows(self) -> list[dict[str, object]]:
        """One row for each distribution."""
        return [row for each in self.moved for row in each.table_rows()]


class WantedRow(Answer, frozen=True):
    """A captured row that people are asked to label."""

    id: int
    device: str
    why: str
    """random | uncertain"""
    row: CapturedRow


class LabelsWanted(Answer, frozen=True):
    """The rest of the day's label budget of one model."""

    model: str
    per_day: int
    given_today: int
    captured: int
    rows: tuple[WantedRow, ...]

    def table_rows(self) -> list[dict[str, object]]:
        """One row for each captured row: its id, an empty label, and the inputs under their own names."""
        found = []
        for each in self.rows:
            about: dict[str, object] = {"id": f"{self.model}/{each.id}", "label": "", "why": each.why}
            about |= {"device": each.device, "_value": each.row.value, "_confidence": each.row.confidence}
            found.append(about | dict(each.row.inputs))
        return found
