"""Short ways to ask for the verdict of a rule."""

from typing import Any

from controller.rollout.analysis import Counts, Evidence, RuleVerdict, judge
from controller.rollout.facts import Cell
from controller.rollout.model import Rule, Wave

ALL = Wave(percent=100)


def verdict(rule: Rule, *found: Cell, strata: int = 1, **counts: int) -> RuleVerdict:
    return judge(rule, Evidence(Counts(**counts), found, strata))


def word(rule: Rule, *found: Cell, **counts: Any) -> str:
    return verdict(rule, *found, **counts).word
