"""Fairness from counts of devices: Fairlearn's measures, intervals over devices, small groups suppressed."""

import numpy as np
import pytest

from controller.drift.breaches import breach_rates, interval
from controller.drift.fairness import MIN_GROUP_ROWS, fairness_of
from controller.drift.shape import Shape
from controller.drift.signals import breach_signals, fairness_signals
from controller.gates.fairness import MEASURES, rates_of


def counted(groups: np.ndarray, answers: np.ndarray, labels: np.ndarray) -> Shape:
    def six(rows: np.ndarray) -> tuple[int, ...]:
        chosen, positive = answers[rows], labels[rows]
        return (
            int(rows.sum()), int(chosen.sum()), int(positive.sum()), int((chosen & positive).sum()),
            int((~positive).sum()), int((chosen & ~positive).sum()),
        )  # fmt: skip

    return Shape(groups={f"side={value}": six(groups == value) for value in np.unique(groups)})


def test_measures_are_those_of_the_gate_on_the_same_rows() -> None:
    random = np.random.default_rng(0)
    groups, answers, labels = random.choice(["l", "r"], 400), random.random(400) < 0.4, random.random(400) < 0.5
    halves = [counted(*(each[part] for each in (groups, answers, labels))) for part in (slice(150), slice(150, None))]
    (found,) = fairness_of({"a": halves[0], "b": halves[1]})
    rates = rates_of(labels, answers, groups)
    assert found.measures == {name: pytest.approx(call(rates), abs=1e-6) for name, call in MEASURES.items()}
    assert (found.column, found.devices, found.suppressed) == ("side", 2, 0)
    assert (
        (found.difference.low or 0) <= found.measures["demographic_parity_difference"] <= (found.difference.high or 0)
    )


def test_small_groups_are_suppressed_and_named_as_such() -> None:
    shape = Shape(groups={"age=old": (100, 50, 0, 0, 0, 0), "age=rare": (MIN_GROUP_ROWS - 1, 9, 0, 0, 0, 0)})
    (found,) = fairness_of({"a": shape})
    assert [group.value for group in found.groups] == ["old"]
    assert (found.suppressed, found.measures) == (1, {})
    assert found.difference.value is None
    assert fairness_of({"a": Shape(groups={"other": (99,) * 6})}) == []


def test_differences_between_devices_widen_the_interval_and_missing_labels_leave_measures_out() -> None:
    alike = {f"d{at}": Shape(groups={"s=l": (100, 50, 0, 0, 0, 0), "s=r": (100, 50, 0, 0, 0, 0)}) for at in range(10)}
    apart = {name: Shape(groups={"s=l": (100, 100 * (at % 2), 0, 0, 0, 0), "s=r": (100, 50, 0, 0, 0, 0)})
             for at, name in enumerate(alike)}  # fmt: skip
    (one,), (other,) = fairness_of(alike), fairness_of(apart)
    assert (other.difference.high or 0) > 2 * (one.difference.high or 0)
    assert set(one.measures) == {"demographic_parity_difference", "demographic_parity_ratio"}
    assert one.groups[0].true_positive.value is None


def test_a_fairness_signal_is_raised_if_the_whole_interval_is_beyond_the_gate() -> None:
    shape = Shape(groups={"s=l": (5000, 4000, 0, 0, 0, 0), "s=r": (5000, 1000, 0, 0, 0, 0)})
    found = fairness_of({"a": shape})
    assert fairness_signals("m", found, 0.1)[0].is_beyond
    assert not fairness_signals("m", found, 0.7)[0].is_beyond
    assert not fairness_signals("m", found, None)[0].is_beyond


def test_breaches_are_rates_by_column_kind_and_device_the_highest_first() -> None:
    shapes = {
        "bad": Shape(features={"x": (0, 900, 100), "y": (0, 1000)}, breaches={"x": (0, 100, 0, 0)}),
        "good": Shape(features={"x": (0, 1000), "y": (0, 1000)}, breaches={"y": (0, 0, 0, 1)}),
    }
    first, second = breach_rates(shapes)
    assert (first.what, first.kind, first.breaches, first.rows, first.rate) == ("x", "out_of_range", 100, 2000, 0.05)
    assert first.devices == {"bad": 0.1}
    assert (second.what, second.kind, second.is_beyond) == ("y", "stuck", False)
    signals = breach_signals("m", [first, second])
    assert [each.is_beyond for each in signals] == [True, False]
    assert (signals[0].devices, signals[0].of) == (1, "x out_of_range")


def test_the_interval_of_a_rate_is_the_wilson_interval() -> None:
    assert interval(0, 0) == (0.0, 1.0)
    assert interval(10, 100, 1.96) == pytest.approx((0.0552, 0.1744), abs=1e-4)
