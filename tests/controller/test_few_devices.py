"""A rollout on four devices: what its rules find with one or two canaries, and what the plan says about it."""

from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from contract.desired import TrialPolicy
from contract.errors import BadInput
from controller.reconcile.preview import preview, refuse_powerless
from controller.reconcile.world import World
from controller.rollout.facts import Sums
from controller.rollout.model import Member, Rule
from controller.rollout.power import Shown, power_of
from tests.controller.rollout_worlds import sums
from tests.controller.rule_verdicts import Cell, verdict, word
from tests.controller.test_preview_edges import TRIAL, rollout

FAILURES = Rule(metric="error_ratio", threshold=0.02, min_samples=30)
ACCURACY = Rule(metric="accuracy_drop", threshold=0.02, min_samples=100)
HOURS, LABELS = 8, 60
SPLITS = [(1, 3), (2, 2), (2, 1)]


def fleet(first: int, beside: int, usual: Sums, after: Sums, broken: int | None = None) -> list[Cell]:
    """So many devices with the release and without it for five minutes, after three without; `broken` of the first."""
    names = [f"d{number}" for number in range(first + beside)]
    cells = [Cell(control=usual, device=name, minute=minute) for minute in range(3) for name in names]
    for minute in range(3, 8):
        worse = first if broken is None else broken
        cells += [
            Cell(after if n < worse else usual, device=name, minute=minute) for n, name in enumerate(names[:first])
        ]
        cells += [Cell(control=usual, device=name, minute=minute) for name in names[first:]]
    return cells


@pytest.mark.parametrize(("first", "beside"), [*SPLITS, (1, 0), (2, 0)])
def test_a_release_that_breaks_all_canaries_is_stopped_however_few_they_are(first: int, beside: int) -> None:
    assert word(FAILURES, *fleet(first, beside, sums(20), sums(20, errors=20))) == "fail"
    assert word(FAILURES, *fleet(first, beside, sums(20), sums(20))) == "pass"


@pytest.mark.parametrize(("first", "beside"), SPLITS)
def test_a_release_that_answers_wrongly_on_all_canaries_is_stopped(first: int, beside: int) -> None:
    assert word(ACCURACY, *fleet(first, beside, sums(100, accuracy=0.9), sums(100, accuracy=0.4))) == "fail"
    assert word(ACCURACY, *fleet(first, beside, sums(100, accuracy=0.9), sums(100, accuracy=0.9))) == "pass"


@pytest.mark.parametrize(("first", "word_of_rule"), [(2, "inconclusive"), (4, "inconclusive"), (5, "pass")])
def test_one_of_few_canaries_that_fails_altogether_is_no_pass(first: int, word_of_rule: str) -> None:
    found = verdict(FAILURES, *fleet(first, 2, sums(20), sums(20, errors=20), broken=1))
    assert found.word == word_of_rule
    assert f"1 of {first} devices fail altogether" in found.detail


def hours(seed: int, drop: float, *, spread: float = 0.03) -> list[Cell]:
    """Two canaries and two others for a day and `HOURS`: levels differ by 5 points and depend on the hour before."""
    random = np.random.default_rng(seed)
    level, move, now = 0.9 + 0.05 * random.normal(size=4), spread * random.normal(size=4), np.zeros(4)
    cells = []
    for hour in range(-24, HOURS):
        now = 0.9 * now + 0.02 * np.sqrt(1 - 0.81) * random.normal(size=4)
        usual = np.clip(level + now + 0.01 * random.normal() + (move if hour >= 0 else 0.0), 0.0, 1.0)
        for number in range(4):
            treated = hour >= 0 and number < 2
            correct = int(random.binomial(LABELS, max(0.0, usual[number] - (drop if treated else 0.0))))
            counted = Sums(inferences=LABELS, labelled=LABELS, correct=correct)
            cells.append(Cell(**{"treated" if treated else "control": counted}, device=f"d{number}", minute=hour + 24))
    return cells


def test_two_canaries_that_move_twice_as_much_as_assumed_stop_no_good_release_and_find_a_large_harm() -> None:
    assert [word(ACCURACY, *hours(seed, 0.0)) for seed in range(30)].count("fail") == 0
    assert [word(ACCURACY, *hours(seed, 0.4)) for seed in range(10)].count("fail") == 10


def test_the_plan_says_what_two_canaries_of_four_devices_can_find() -> None:
    shown = Shown(0.015, per_hour=float(LABELS))
    said = power_of(ACCURACY, 2, 2, HOURS * 3600.0, shown=shown)
    assert "2 devices against 2 in 8 h, 480 labels each: finds a harm of" in said
    assert "2 of 4 can be chosen in 6 ways, so that the order of devices alone shows nothing rarer than 1 in 6" in said
    assert "can be chosen" not in power_of(ACCURACY, 5, 45, HOURS * 3600.0, shown=shown)


def planned(kinds: str, *, first: int, trial: TrialPolicy | None = None) -> tuple[World, Any]:
    """A plan for a device of each kind; the first ones are the first wave."""
    members = [Member(f"d{n}", int(n >= first), stratum=kind) for n, kind in enumerate(kinds)]
    made = rollout(
        *members, rules=(replace(ACCURACY, on_missing="skip"),), **({} if trial is None else {"trial": trial})
    )
    return World(silent_s=90.0), made


def test_the_plan_says_that_nothing_is_compared_where_no_device_of_a_kind_is_beside_the_first_wave() -> None:
    seen = preview(*planned("abcd", first=4), 0.0)
    assert seen.power == (
        "accuracy_drop: 4 devices, and none of their kind without the release: nothing to compare with, so that it "
        "finds no harm in this wave, however large; make the first wave smaller, or set trial.reverse_share",
    )
    assert (
        "not counted, because none of their kind is beside them: d0" in preview(*planned("abb", first=2), 0.0).power[0]
    )
    assert "not counted" not in preview(*planned("aabb", first=1), 0.0).power[0]
    both = preview(*planned("abcd", first=4, trial=replace(TRIAL, reverse_share=Decimal(1))), 0.0).power[0]
    assert "nothing to compare" not in both, "stable repeats the trial's inferences on each device"


def test_a_rule_that_waits_for_a_comparison_that_cannot_come_is_refused_with_the_arithmetic() -> None:
    made, asked = planned("abcd", first=4)
    refuse_powerless(made, asked, 0.0)
    waits = replace(asked.strategy, rules=(replace(ACCURACY, on_missing="wait"),))
    with pytest.raises(BadInput, match="can never pass: 4 devices, and none of their kind without the release"):
        refuse_powerless(made, replace(asked, strategy=waits), 0.0)
