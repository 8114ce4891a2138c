"""One device of twenty sends false numbers: the verdict on its fleet is that of the other nineteen."""

from typing import Any

import pytest
from msgspec.structs import replace

from contract.messages import ModelInterval, VersionRef
from controller.fleet.believable import MAX_PER_S, why_impossible
from controller.rollout.facts import Sums
from controller.rollout.failing_devices import Failing
from controller.rollout.model import Rule
from controller.rollout.verdict import RuleVerdict
from tests.controller.rollout_worlds import sums
from tests.controller.rule_verdicts import Cell, verdict

DEVICES, AFTER = 20, range(3, 8)
ERROR = Rule(metric="error_increase", threshold=0.1, min_samples=50)
ACCURACY = Rule(metric="accuracy_drop", threshold=0.05, min_samples=50)
FAILURES = Rule(metric="error_ratio", threshold=0.05, min_samples=50)


def numbers(mean_error: float, total: float | None = None, count: int = 1000) -> Sums:
    found = mean_error * count if total is None else total
    return Sums(
        inferences=count, labelled=count, measured=count, absolute_error_sum=found,
        squared_error_sum=1.5 * mean_error**2 * count if total is None else min(found**2, 1e300),
        squared_label_sum=count * 100.0,
    )  # fmt: skip


def fleet(before: Sums, after: Sums) -> list[Cell]:
    """Twenty devices for three minutes; then half of them get the release for five."""
    found = [Cell(control=before, device=f"d{n}", minute=minute) for minute in range(3) for n in range(DEVICES)]
    for minute in AFTER:
        found += [Cell(after, device=f"d{n}", minute=minute) for n in range(DEVICES // 2)]
        found += [Cell(control=before, device=f"d{n}", minute=minute) for n in range(DEVICES // 2, DEVICES)]
    return found


def lies(said: Sums, where: str) -> list[Cell]:
    if where == "before it":
        return [Cell(control=said, device="d0", minute=minute) for minute in range(3)]
    if where == "with the release":
        return [Cell(said, device="d0", minute=minute) for minute in AFTER]
    return [Cell(control=said, device=f"d{DEVICES - 1}", minute=minute) for minute in AFTER]


PLACES = ("before it", "with the release", "beside it")


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("total", [1e6, 1e30, 1e150])
def test_an_enormous_error_neither_hides_nor_creates_harm(total: float, where: str) -> None:
    said = lies(numbers(1.0, total), where)
    assert verdict(ERROR, *fleet(numbers(1.0), numbers(2.0)), *said).word == "fail"
    assert verdict(ERROR, *fleet(numbers(1.0), numbers(1.0)), *said).word == "pass"


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("correct", [0.0, 1.0])
def test_a_billion_labels_neither_hide_nor_create_harm(correct: float, where: str) -> None:
    said = lies(sums(10**9, accuracy=correct), where)
    assert verdict(ACCURACY, *fleet(sums(1000, accuracy=0.9), sums(1000, accuracy=0.6)), *said).word == "fail"
    assert verdict(ACCURACY, *fleet(sums(1000, accuracy=0.9), sums(1000, accuracy=0.9)), *said).word == "pass"


@pytest.mark.parametrize("said", [Sums(inferences=2**53), Sums(inferences=2**53, errors=2**53)])
def test_an_absurd_number_of_inferences_neither_hides_nor_creates_failures(said: Sums) -> None:
    where = "beside it" if said.errors else "with the release"
    found = verdict(FAILURES, *fleet(sums(1000), sums(1000, errors=200)), *lies(said, where))
    assert found.word == "fail"
    assert verdict(FAILURES, *fleet(sums(1000), sums(1000)), *lies(said, where)).word == "pass"


def test_the_verdict_names_a_device_that_was_set_aside() -> None:
    found = verdict(ERROR, *fleet(numbers(1.0), numbers(2.0)), *lies(numbers(1.0, 1e9), "beside it"))
    assert "against 9 of their kinds and their own past, without d19, which lies far from all others" in found.detail


def test_only_one_of_two_completely_failing_devices_is_set_aside() -> None:
    broken = [Cell(sums(1000, errors=1000), device=f"d{n}", minute=minute) for n in range(2) for minute in AFTER]
    found = verdict(FAILURES, *fleet(sums(1000), sums(1000)), *broken)
    assert found.figures is not None
    assert found.figures.value > 0.05


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"errors": 11}, "11 errors of 10 inferences"),
        ({"labelled": 10, "correct": 2**53 - 1}, f"{2**53 - 1} correct of 10 labelled"),
        ({"labelled": 3, "measured": 4}, "4 measured of 3 labelled"),
        ({"compared": 1, "agreed": 2}, "2 agreed of 1 compared"),
        ({"inferences": int(6 * MAX_PER_S)}, "inferences a second"),
        ({"labelled": 4, "measured": 4, "absolute_error_sum": 5.0, "squared_error_sum": 6.0}, "no 4 numbers have both"),
        ({"labelled": 4, "measured": 4, "absolute_error_sum": 4.0, "squared_error_sum": 4.0}, ""),
        ({"errors": 10, "labelled": 10, "correct": 10}, ""),
    ],
)
def test_impossible_counts_are_reported(said: dict[str, Any], words: str) -> None:
    usual = ModelInterval(model="m", version=VersionRef(release=1, digest="1" * 64), inferences=10, errors=0)
    found = why_impossible(replace(usual, **said), 5.0)
    assert words in found if words else not found


def failing(count: int, *, canaries: int = 10, others: int = 40, past: bool = False) -> RuleVerdict:
    """The given number of canaries fail every inference; all other devices fail none, now and before."""
    good, bad = (Sums(inferences=200, errors=errors) for errors in (0, 200))
    cells = [Cell(bad if n < count else good, device=f"c{n}", minute=1) for n in range(canaries)]
    cells += [Cell(control=good, device=f"o{n}", minute=1) for n in range(others)]
    cells += [
        Cell(control=bad if past and cell.device < f"c{count}" else good, device=cell.device, minute=0)
        for cell in cells
    ]
    return verdict(FAILURES, *cells)


@pytest.mark.parametrize(
    ("count", "word"), [(0, "pass"), (1, "pass"), (2, "inconclusive"), (3, "inconclusive"), (4, "fail"), (9, "fail")]
)
def test_several_completely_failing_devices_prevent_a_pass(count: int, word: str) -> None:
    """One device may send false counts. With several, the interval is wide and must not count as proof of no harm."""
    found = failing(count)
    assert found.word == word
    assert (f"{count} of 10 devices fail altogether, 0 of 40 others" in found.detail) == (count > 0)


def test_devices_that_failed_before_and_as_many_in_the_comparison_do_not_count_against_the_release() -> None:
    assert failing(3, past=True).word == "pass"
    assert Failing(treated=3, devices=10, beside=12, devices_beside=40).chance() > 0.5
    assert Failing(treated=3, devices=10, beside=0, devices_beside=40).chance() == pytest.approx(120 / 19_600)
