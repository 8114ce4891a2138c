"""Edges of the figures of a rollout: sums, exposure, time left, and labels that have another type than the answer."""

import math

import numpy as np
import pytest
from msgspec.structs import replace

from contract.captured import CapturedRow
from controller.rollout.analysis import compared
from controller.rollout.by_device import Assumed, Group, combined, level
from controller.rollout.evidence import latency_ratio
from controller.rollout.exposure import exposure_of
from controller.rollout.facts import MAX_CODES, Sums, total
from controller.rollout.late import judge_late
from controller.rollout.model import Rule, Strategy, Wave
from controller.rollout.noise import number_noise
from controller.rollout.power import Shown, power_of, smallest_found
from controller.rollout.progress import offering_s, wave_left_s, waves_of
from tests.controller.rollout_worlds import CANARY, STRATEGY, cells, measured, rollout, sums
from tests.controller.rule_verdicts import verdict


def test_two_labels_are_enough_for_r2_and_one_is_not() -> None:
    two = Sums(measured=2, label_sum=3.0, squared_label_sum=5.0, squared_error_sum=0.25)
    assert two.r2 == pytest.approx(0.5)
    assert replace_measured(two, 1).r2 is None


def replace_measured(before: Sums, count: int) -> Sums:
    return Sums(
        measured=count,
        label_sum=before.label_sum,
        squared_label_sum=before.squared_label_sum,
        squared_error_sum=before.squared_error_sum,
    )


def test_more_codes_than_the_limit_are_counted_together_and_known_codes_keep_their_names() -> None:
    codes = {f"code_{number}": 1 for number in range(MAX_CODES)}
    found = total([Sums(refused=codes), Sums(refused={"code_0": 2, "code_new": 4}), Sums(refused={"code_newer": 8})])
    assert found.refused == {**codes, "code_0": 3, "other": 12}


def test_exposure_adds_the_time_left_of_the_current_wave_for_each_of_its_devices() -> None:
    made = rollout(replace(STRATEGY, waves=(Wave(percent=20, soak_s=7200.0), Wave(percent=100))), wave_began_at=0.0)
    rows = measured((CANARY, 0.0, sums(10), None), (CANARY, 3600.0, sums(10), None))
    progress = waves_of(made, {member.device: "pending" for member in made.members}, 3600.0)
    found = exposure_of(made, rows.table(), progress)
    now_on = sum(each.left_s for each in progress if each.state == "now")
    assert now_on > 0
    assert found.device_hours_at_most == pytest.approx(found.device_hours + now_on / 3600.0, abs=0.002)


def test_the_time_of_a_later_wave_contains_the_offers_to_its_own_devices() -> None:
    paced = Strategy(name="p", waves=(Wave(percent=20), Wave(percent=100, soak_s=60.0)), per_minute=1.0)
    made = rollout(paced)
    assert offering_s(made, 1) > offering_s(made, 0)
    trial_s = float(made.strategy.trial.soak_s)
    assert wave_left_s(made, 1, {}, 0.0) == offering_s(made, 1) + trial_s + 60.0


def test_agreement_is_measured_on_the_same_device_so_that_other_devices_change_nothing() -> None:
    shown = Shown(spread=0.02, devices=45, per_hour=120.0, noise_of_one=0.09)
    agreement = Rule(metric="agreement", threshold=0.8, min_samples=100)
    alone, beside = (smallest_found(agreement, 5, count, 5 * 2880, shown=shown) for count in (0, 45))
    assert alone == beside
    accuracy = Rule(metric="accuracy_drop", threshold=0.01, min_samples=100)
    alone, beside = (smallest_found(accuracy, 5, count, 5 * 2880, shown=shown) for count in (0, 45))
    assert alone != beside


def test_a_late_text_label_of_a_number_is_a_wrong_answer_and_no_distance() -> None:
    def rows(device: str, release: int, label: object) -> list[tuple[str, CapturedRow]]:
        row = CapturedRow(at=0.0, model="m", release=release, why="sampled", inputs={}, value=5.0, label=label)  # type: ignore[arg-type]
        return [(device, row)] * 200

    rule = Rule(metric="accuracy_drop", threshold=0.02, min_samples=100, judged_s=1.0)
    ended = rollout(replace(STRATEGY, rules=(rule,)), status="completed", wave=1)
    (found,) = judge_late(ended, [*rows("d0", 2, "five"), *rows("d1", 1, 5.0)])
    assert found.metric == "accuracy_drop"
    (error,) = judge_late(
        replace(ended, strategy=replace(STRATEGY, rules=(replace(rule, metric="error_increase"),))),
        [*rows("d0", 2, "five"), *rows("d1", 1, "five")],
    )
    assert error.word == "inconclusive"


def test_the_noise_of_a_device_without_numbers_is_finite() -> None:
    found = number_noise(np.array([0.0, 1.0, 4.0]), np.array([0.0, 2.0, 8.0]), np.array([0.0, 4.0, 20.0]), 1.0)
    assert np.allclose(found, [1.0, 1.0, 14.0 / 13.0 / 4.0])


def test_power_is_told_from_the_first_moment_at_which_there_are_enough_samples() -> None:
    rule, shown = Rule(metric="error_ratio", threshold=0.1, min_samples=120), Shown(spread=0.02, per_hour=120.0)
    assert power_of(rule, 1, 4, 3600.0, shown=shown).startswith("1 device against 4 in 60 min")
    assert "120 needed" in power_of(rule, 1, 4, 3599.0, shown=shown)


def test_one_time_of_each_version_on_a_device_is_compared() -> None:
    once = cells(sums(1, bucket=20), sums(1, bucket=10)).table()
    found = latency_ratio(compared(once, {CANARY: ""}, ("",), 0.0))
    assert found is not None
    assert found.value == pytest.approx(10 * math.log(2) / 2), "two buckets are twice as long"


def group(*moved: float) -> Group:
    after = np.array(moved)
    none = np.zeros(len(moved))
    return Group(after, none + 1e-6, none, none + np.inf, none + 100.0, np.arange(len(moved)) + 50)


def test_without_a_device_beside_the_effect_is_how_much_the_devices_have_moved() -> None:
    assert combined(group(0.2, 0.2, 0.2), group(), Assumed(levels=0.1, differences=0.01)).value == pytest.approx(0.2)


def test_a_device_far_from_all_others_is_set_aside_by_its_number_in_the_table() -> None:
    moved = [0.1] * 9
    moved[4] = 900.0
    found = level(group(*moved), Assumed(levels=0.1, differences=0.01))
    assert (found.set_aside, found.devices) == (54, 8)
    assert found.value == pytest.approx(0.1)


def test_a_rule_that_counts_devices_has_no_samples() -> None:
    found = verdict(Rule(metric="failed_ratio", threshold=0.25), succeeded=3, failed=1)
    assert found.figures is not None
    assert (found.figures.devices, found.figures.samples) == (4, 0)
