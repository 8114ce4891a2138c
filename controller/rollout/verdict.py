"""A verdict of a rule: one word, one sentence, and the numbers from which both follow.

Decides how an effect and a limit become a word. Refuses to know metrics.
"""

from typing import Literal

import msgspec

from controller.rollout.model import Rule

Word = Literal["pass", "fail", "inconclusive", "no_data"]
HOLDS_NOTHING_UP: frozenset[Word] = frozenset({"pass", "no_data"})
"""no_data: a rule with `on_missing = "skip"` has no data. The rollout continues, but this is not a pass."""
Unit = Literal["", "ratio", "fraction", "times", "devices", "number"]


class Figures(msgspec.Struct, frozen=True):
    """The numbers of a verdict: an estimate, the interval that contains the true value at every look, and the data
    behind them.
    """

    value: float
    low: float
    high: float
    limit: float
    unit: Unit
    """ratio: of inferences or answers. fraction: of the value before. times: as long as before. devices: of devices
    that have decided; the interval shows the possible values when all have decided. number: the unit of the
    application's number."""
    devices: int = 0
    """Devices with the release."""
    devices_beside: int = 0
    """Devices with which they are compared; the same ones if both versions ran side by side."""
    samples: int = 0
    """Inferences, labels or answers of the release."""
    samples_beside: int = 0
    trial: float | None = None
    """The level of the release itself: its accuracy, mean absolute error, fraction of failures or of a class, mean of
    an application's number, or p95 in microseconds."""
    control: float | None = None
    """The same of what it is compared with, since the release was first seen; None without a comparison."""
    finds: float = 0.0
    """The value from which on the rule trips with a probability of 80 %, by what is known now."""


class RuleVerdict(msgspec.Struct, frozen=True):
    """The current verdict of one rule, for all devices or for one stratum."""

    metric: str
    """The rule's title: its metric, with its name if it has one."""
    word: Word
    detail: str
    stratum: str = ""
    rule: int = 0
    """Its index among the strategy's rules."""
    figures: Figures | None = None
    """None if the rule has too little data."""

    @property
    def is_across(self) -> bool:
        """Whether the interval holds values on both sides of the limit: a pass then means that no harm was shown."""
        if self.figures is None:
            return False
        low, limit, high = self.figures.low, self.figures.limit, self.figures.high
        return low < limit <= high if self.metric == "agreement" else low <= limit < high

    @property
    def says(self) -> str:
        """The word as the verb of a sentence."""
        return "shows no harm so far" if self.word == "pass" and self.is_across else _SAYS[self.word]


_SAYS: dict[Word, str] = {
    "pass": "passes",
    "fail": "has failed",
    "inconclusive": "cannot say yet",
    "no_data": "has no data",
}


def word_of(rule: Rule, figures: Figures, *, could_be_chance: bool) -> Word:
    """fail: the whole interval lies beyond the limit. pass: no part of it does, or that is not required.

    `needs = "shown_harmless"` makes an interval that contains the limit inconclusive.
    """
    low, high, limit = figures.low, figures.high, figures.limit
    if rule.metric == "agreement":  # the only metric for which more is better
        low, high, limit = -high, -low, -limit
    if low > limit:
        return "inconclusive" if could_be_chance else "fail"
    return "pass" if high <= limit or rule.needs == "no_harm_shown" else "inconclusive"
