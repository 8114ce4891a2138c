"""A verdict: what a rule says in one word, in one sentence, and in the numbers that both come from.

Decides how an effect and a limit become a word. Refuses to know metrics.
"""

from typing import Literal

import msgspec

from controller.rollout.model import Rule

Word = Literal["pass", "fail", "inconclusive", "no_data"]
HOLDS_NOTHING_UP: frozenset[Word] = frozenset({"pass", "no_data"})
"""no_data: a rule with `on_missing = "skip"` has nothing to go by. The rollout goes on, and it reads as no pass."""
Unit = Literal["", "ratio", "fraction", "times", "devices", "number"]


class Figures(msgspec.Struct, frozen=True):
    """The numbers of a verdict: an estimate, the interval that holds the truth at every look, and what they rest on."""

    value: float
    low: float
    high: float
    limit: float
    unit: Unit
    """ratio: of inferences or answers. fraction: of what it was before. times: as long as before. devices: of devices
    that have decided; the interval is what it can become with those that have not. number: the unit of the
    application's own number."""
    devices: int = 0
    """Devices with the release."""
    devices_beside: int = 0
    """Devices that they are compared with; the same ones where both versions ran side by side."""
    samples: int = 0
    """Inferences, labels or answers of the release."""
    samples_beside: int = 0
    trial: float | None = None
    """The level of the release itself: its accuracy, mean absolute error, share of failures or of a class, mean of an
    application's number, or p95 in microseconds."""
    control: float | None = None
    """The same of what it is compared with, since the release was first seen; None where nothing is."""
    finds: float = 0.0
    """The value from which on the rule trips with a chance of 80 %, with what is known now."""


class RuleVerdict(msgspec.Struct, frozen=True):
    """The current verdict of one rule, for all devices or for one stratum."""

    metric: str
    """The rule's title: its metric, with the name where it has one."""
    word: Word
    detail: str
    stratum: str = ""
    rule: int = 0
    """Its index among the strategy's rules."""
    figures: Figures | None = None
    """None where the rule has too little to say."""


def word_of(rule: Rule, figures: Figures, *, could_be_chance: bool) -> Word:
    """fail: the whole interval lies beyond the limit. pass: none of it does, or that is not asked for.

    `needs = "shown_harmless"` leaves an interval that reaches across the limit inconclusive.
    """
    low, high, limit = figures.low, figures.high, figures.limit
    if rule.metric == "agreement":  # the only metric of which more is better
        low, high, limit = -high, -low, -limit
    if low > limit:
        return "inconclusive" if could_be_chance else "fail"
    return "pass" if high <= limit or rule.needs == "no_harm_shown" else "inconclusive"
