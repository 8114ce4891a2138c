"""The figures of a model that alert rules read, each with its interval and limit: estimated quality, breaches,
fairness, drift.

Decides which direction is bad, and the default limit. Drift has no limit: it is shown with an alert but causes
none. Refuses to know rules, states and receivers of alerts.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec

from controller.drift.breaches import LIMIT, BreachRate, devices_beyond
from controller.drift.fairness import Fairness
from controller.drift.quality import QualityEstimate
from controller.drift.what_moved import Ranked

Kind = Literal["estimated_quality", "contract_breach_ratio", "fairness", "drift"]
"""The first two are the names of the alert measures that read them."""
ALLOWED_DROP = 0.05
"""Points of accuracy by which an estimate may lie below the usual accuracy."""


class Signal(msgspec.Struct, frozen=True):
    """One figure of a model. value, low, high are None if they are unknown; then `why` gives the reason."""

    model: str
    kind: Kind
    value: float | None
    low: float | None
    high: float | None
    limit: float | None
    """None: no alert depends on it."""
    n: int
    """The number of rows behind it."""
    devices: int
    valid: bool
    why: str
    of: str = ""
    """The column, group column or kind of breach; empty: the model."""

    @property
    def is_beyond(self) -> bool:
        """Whether a rule without its own limit fires: the whole interval is on the bad side, and the figure is
        valid.
        """
        if not self.valid or self.limit is None or self.low is None or self.high is None:
            return False
        return self.high < self.limit if self.kind == "estimated_quality" else self.low > self.limit


def quality_signal(model: str, found: QualityEstimate, devices: int) -> Signal:
    """Returns the estimated accuracy; its limit is the usual accuracy minus `ALLOWED_DROP`."""
    limit = None if found.usual is None else found.usual - ALLOWED_DROP
    return Signal(
        model,
        "estimated_quality",
        found.value,
        found.low,
        found.high,
        limit,
        found.rows,
        devices,
        found.valid,
        found.why,
    )


def breach_signals(model: str, rates: Sequence[BreachRate]) -> list[Signal]:
    """Returns one signal for each column and kind of breach."""
    return [
        Signal(
            model,
            "contract_breach_ratio",
            each.rate,
            each.low,
            each.high,
            LIMIT,
            each.rows,
            devices_beyond([each]),
            valid=True,
            why=f"{each.breaches} of {each.rows} cells of {each.what} are {each.kind.replace('_', ' ')}",
            of=f"{each.what} {each.kind}",
        )
        for each in rates
    ]


def fairness_signals(model: str, found: Sequence[Fairness], limit: float | None) -> list[Signal]:
    """Returns one signal for each group column, with the limit of the model's gate on fairness."""
    return [
        Signal(
            model,
            "fairness",
            each.difference.value,
            each.difference.low,
            each.difference.high,
            limit,
            each.difference.rows,
            each.devices,
            valid=each.difference.value is not None,
            why=f"demographic parity difference between {len(each.groups)} groups of {each.column}",
            of=each.column,
        )
        for each in found
    ]


def drift_signals(model: str, found: Sequence[Ranked], devices: int) -> list[Signal]:
    """Returns one signal for each distribution that moved beyond its own past, without a limit: a diagnosis."""
    return [
        Signal(
            model,
            "drift",
            each.moved.distance,
            None,
            None,
            None,
            each.moved.rows,
            devices,
            valid=each.moved.limit is not None,
            why=f"{each.what} moved by {each.moved.distance:.1%}, more in {each.towards}",
            of=each.what,
        )
        for each in found
        if each.moved.is_beyond
    ]
