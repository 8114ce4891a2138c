"""Rules with a name: a number that applications measure, and the fraction of a class in the answers,
judged by device.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from contract.errors import BadInput
from contract.messages import MetricSums, ModelInterval, Telemetry, VersionRef
from controller.reconcile.decisions import reconcile
from controller.reconcile.measured import rows_of, stored_rows
from controller.reconcile.preview import preview, refuse_powerless
from controller.reconcile.world import World
from controller.rollout.analysis import Counts, Evidence, compared, judge, judge_all
from controller.rollout.check import check_strategy, check_task
from controller.rollout.facts import Sums
from controller.rollout.late import judge_late, judge_named
from controller.rollout.model import Member, Rollout, Rule, Strategy, Wave
from controller.rollout.named import rows_for
from controller.rollout.noise import number_noise
from controller.rollout.rows import COUNTS, HOUR_S, Rows
from controller.rollout.verdict import RuleVerdict
from controller.telemetry.store import DAY_S, TelemetryStore
from tests.controller.named_worlds import NamedFleet, last_verdict
from tests.controller.test_preview_edges import FORM

SCRAP = Rule(metric="metric_increase", name="scrap_rate", threshold=0.1, min_samples=100)
YIELD = replace(SCRAP, metric="metric_decrease")
PLAIN = replace(SCRAP, change="absolute", threshold=0.006)
ONES = Rule(metric="class_share", name="1", threshold=0.05, min_samples=100)
LARGE = NamedFleet(mean=100.0, spread=0.05, wander=0.02)
ALL = Wave(percent=100)


# What is found, and what is not.


@pytest.mark.parametrize(
    ("fleet", "rule", "words"),
    [
        (NamedFleet(times=1.6), SCRAP, "higher"),
        (NamedFleet(times=1.6), PLAIN, "higher"),
        (NamedFleet(mean=100.0, spread=0.05, wander=0.02, times=1.25), replace(PLAIN, threshold=10.0), "higher"),
        (NamedFleet(mean=100.0, spread=0.05, wander=0.02, times=0.75), YIELD, "lower"),
        (NamedFleet(part_moves=0.2), ONES, "more often"),
        (NamedFleet(part_moves=-0.2), ONES, "less often"),
    ],
)
def test_a_release_that_worsens_a_named_metric_is_found_within_a_day(fleet: NamedFleet, rule: Rule, words: str) -> None:
    for seed in range(2):
        found, _ = last_verdict(fleet, rule, seed)
        assert (found.word, found.metric) == ("fail", rule.title)
        assert words in found.detail
        assert found.figures is not None
        assert found.figures.low > found.figures.limit


GOOD = [
    (NamedFleet(), replace(SCRAP, threshold=0.0)),
    (NamedFleet(), replace(PLAIN, threshold=0.0)),
    (LARGE, replace(YIELD, threshold=0.0)),
    (NamedFleet(), replace(ONES, threshold=0.0)),
    (NamedFleet(devices=20, canaries=2), replace(SCRAP, threshold=0.0)),
    (NamedFleet(times=1.1), SCRAP),
]
"""Nothing is allowed beyond chance, and devices differ, wander and have days; the last is just what is allowed."""


@pytest.mark.parametrize(("fleet", "rule"), GOOD)
def test_different_and_drifting_devices_stop_no_good_release(fleet: NamedFleet, rule: Rule) -> None:
    assert [last_verdict(fleet, rule, seed, every_h=4)[0].word for seed in range(3)] == ["pass"] * 3


@pytest.mark.soak
@pytest.mark.parametrize(("fleet", "rule"), GOOD)
def test_a_good_release_is_stopped_in_at_most_one_of_a_hundred_rollouts(fleet: NamedFleet, rule: Rule) -> None:
    stopped = sum(last_verdict(fleet, rule, seed)[0].word == "fail" for seed in range(500))
    assert stopped <= 5 + 5, "1 % of 500, and twice that by chance at the most"


def cells(rule: Rule, treated: tuple[float, ...], others: tuple[float, ...], hours: int = 4) -> RuleVerdict:
    """Devices with constant numbers, of which the first get the release after half of the hours."""
    rows = rows_for([rule])
    for number, level in enumerate((*others[: len(treated)], *others)):
        for hour in range(hours):
            has_it = number < len(treated) and hour >= hours // 2
            value = treated[number] if has_it else level
            sums = MetricSums(count=50, sum=50 * value, squared_sum=50 * value**2)
            rows.add_row(f"d{number}", hour * HOUR_S, Sums(metrics={rule.name: sums}), treated=has_it)
    table = rows.table()
    return judge(rule, Evidence(Counts(), compared(table, dict.fromkeys(table.names, ""), [""], 0.0)))


def test_a_metric_around_zero_is_judged_in_its_own_unit_and_never_as_a_fraction() -> None:
    others = tuple(0.2 * (number - 10) for number in range(21))
    moved = tuple(level + 50.0 for level in others[:6])
    assert cells(replace(PLAIN, threshold=5.0), moved, others).word == "fail"
    unsaid = cells(SCRAP, moved, others)
    assert (unsaid.word, 'set change = "absolute"' in unsaid.detail) == ("inconclusive", True)


def test_the_numbers_of_a_verdict_are_in_the_unit_of_its_threshold() -> None:
    others = tuple(10.0 + 0.1 * number for number in range(20))
    twice = tuple(2 * level for level in others[:6])
    fraction = cells(SCRAP, twice, others).figures
    plain = cells(replace(PLAIN, threshold=1.0), twice, others).figures
    assert fraction is not None
    assert plain is not None
    assert (fraction.unit, plain.unit) == ("fraction", "number")
    assert fraction.value == pytest.approx(10.25 / 10.6, rel=0.1)
    assert plain.value == pytest.approx(10.25, rel=0.05)
    assert plain.trial == pytest.approx(20.5)
    fallen = cells(replace(YIELD, threshold=0.1), tuple(0.5 * level for level in others[:6]), others)
    assert fallen.figures is not None
    assert fallen.figures.trial == pytest.approx(5.125), "levels are what devices report, whichever way is worse"
    assert "scrap_rate is 47.2% lower [" in fallen.detail
    assert "10.0% lower allowed" in fallen.detail


def test_noise_is_computed_from_the_devices_own_squares_and_few_squares_never_look_certain() -> None:
    def noise(total: float, value: float, square: float) -> float:
        found = number_noise(*(np.array([each]) for each in (total, value, square)), 4.0)
        return float(found[0])

    assert noise(1, 3.0, 9.0) == 4.0
    assert noise(2, 6.0, 18.0) == pytest.approx(4.0 * 10 / 11 / 2), "two equal numbers are no proof of no noise"
    assert noise(10_001, 0.0, 10_000.0) == pytest.approx(1e-4, rel=0.01)


# What rows keep.


def interval(release: int = 1, **fields: Any) -> ModelInterval:
    return ModelInterval(
        model="m", version=VersionRef(release=release, digest="a" * 64), inferences=0, errors=0, **fields
    )


def test_rows_keep_only_the_names_that_rules_use() -> None:
    rows = rows_for([SCRAP, YIELD, ONES])
    many = {name: MetricSums(count=2, sum=3.0, squared_sum=5.0) for name in ("scrap_rate", "other")}
    rows.add("a", 0.0, interval(metrics=many, predictions={"1": 3, "0": 5, "2": 1}), treated=False)
    rows.add("a", 1.0, Sums(metrics=many), treated=False)
    table = rows.table()
    added = [name for name in table.columns if name not in COUNTS]
    assert [(name, table.column(name)[0]) for name in added] == [
        ("metric scrap_rate count", 4.0),
        ("metric scrap_rate sum", 6.0),
        ("metric scrap_rate squared_sum", 10.0),
        ("answers", 9.0),
        ("answers 1", 3.0),
    ]
    assert rows_for([Rule(metric="error_ratio", threshold=0.1)]).table().columns == COUNTS


def test_named_columns_are_kept_through_growth_merging_and_removal_of_a_device() -> None:
    rows = rows_for([SCRAP, ONES])
    one = interval(metrics={"scrap_rate": MetricSums(count=1, sum=2.0)}, predictions={"1": 1})
    for number in range(200):
        rows.add(f"d{number % 2}", number * 60.0, one, treated=False)
    rows.drop({"d1"})
    rows.merge_hours(DAY_S)
    rows.add("d2", DAY_S, one, treated=True)
    table = rows.table()
    assert table.column("metric scrap_rate sum").sum() == 2.0 * 101
    assert table.column("answers 1").sum() == 101
    assert len(table.start) == 5


# From devices to a verdict, through the store.


def campaign(*rules: Rule, began_at: float = 7200.0) -> Rollout:
    members = tuple(Member(device=f"d{number}", wave=int(number > 2)) for number in range(12))
    strategy = Strategy(name="s", waves=(Wave(percent=25), ALL), rules=rules)
    return Rollout(
        id="r",
        model="m",
        release=2,
        digest=FORM.digest,
        strategy=strategy,
        members=members,
        began_at=began_at,
        forms=(FORM,),
    )


def lived(store: TelemetryStore, rollout: Rollout) -> World:
    """A world in which the release scraps twice as many parts and answers "1" far more often, minute by minute."""
    world = World(silent_s=600.0, past=store.past, past_shapes=store.shapes)
    world.durable.rollouts[rollout.id] = rollout
    for minute in range(0, 240, 10):
        messages = []
        for number, member in enumerate(rollout.members):
            has_it = member.wave == 0 and minute * 60 >= rollout.began_at
            scrap = (3 + number % 3) * (2 if has_it else 1)
            said = interval(
                2 if has_it else 1,
                metrics={"scrap_rate": MetricSums(count=100, sum=scrap, squared_sum=scrap)},
                predictions={"1": 60 if has_it else 30, "0": 40 if has_it else 70},
            )
            message = Telemetry(
                protocol=1, device=member.device, boot=1, seq=minute + 1, interval_s=600.0, intervals=(said,)
            )
            messages.append((member.device, message))
        store.keep(reconcile(world, messages, minute * 60.0).measured)
    return world


@pytest.fixture
def store(tmp_path: Path) -> Any:
    made = TelemetryStore(tmp_path / "telemetry.sqlite")
    yield made
    made.close()


def verdicts(rollout: Rollout, rows: Rows) -> list[RuleVerdict]:
    outcomes = dict.fromkeys((member.device for member in rollout.members), "succeeded")
    return list(judge_all(rollout, rows, outcomes, 4 * HOUR_S))  # type: ignore[arg-type]


def test_reported_metrics_are_judged_and_a_restarted_controller_gives_the_same_verdict(store: TelemetryStore) -> None:
    made = campaign(SCRAP, ONES)
    world = lived(store, made)
    said = verdicts(made, rows_of(world, made))
    assert [(each.metric, each.word) for each in said] == [
        ("metric_increase scrap_rate", "fail"),
        ("class_share 1", "fail"),
    ]
    again = World(silent_s=600.0, past=store.past, past_shapes=store.shapes)
    assert [each.detail for each in verdicts(made, rows_of(again, made))] == [each.detail for each in said]
    store.tend(DAY_S)
    rolled_up = verdicts(made, stored_rows(again, made))
    assert [each.word for each in rolled_up] == ["fail", "fail"]


def test_late_metrics_are_judged_again_after_the_end(store: TelemetryStore) -> None:
    made = campaign(SCRAP, Rule(metric="accuracy_drop", threshold=0.02))
    world = lived(store, made)
    ended = replace(made, status="completed")
    (found,) = judge_named(ended, stored_rows(world, ended))
    assert (found.word, found.metric) == ("fail", SCRAP.title)
    assert judge_named(campaign(), stored_rows(world, ended)) == ()
    (labels,) = judge_late(ended, [])
    assert labels.metric == "accuracy_drop"


# The plan.


def plan_words(world: World, rollout: Rollout, now: float = 7000.0) -> str:
    try:
        refuse_powerless(world, rollout, now)
    except BadInput as refused:
        return refused.detail
    return "; ".join(preview(world, rollout, now).power)


def test_a_plan_says_what_a_named_rule_can_detect_on_this_fleet(store: TelemetryStore) -> None:
    world = lived(store, campaign(SCRAP, ONES))
    at = 4 * HOUR_S
    said = plan_words(world, campaign(SCRAP, PLAIN, ONES, began_at=at), at).split("; metric_increase")
    assert said[0].startswith("metric_increase scrap_rate: ")
    waits = plan_words(world, campaign(replace(SCRAP, min_samples=10_000), began_at=at), at)
    assert "numbers named scrap_rate in" in waits
    long = replace(campaign(SCRAP, PLAIN, ONES), strategy=Strategy(
        name="s", waves=(Wave(percent=25, soak_s=DAY_S), ALL), rules=(SCRAP, PLAIN, ONES)
    ))  # fmt: skip
    words = plan_words(world, long, at)
    assert "numbers named scrap_rate each: finds an increase of " in words
    assert "between 10.0% (allowed)" in words
    assert "between 0.006 (allowed)" in words
    assert "answers each: finds a change of " in words
    assert "12 devices of this fleet have shown that they move by " in words


def test_a_name_that_no_device_reports_is_refused_with_the_reported_names(store: TelemetryStore) -> None:
    world = lived(store, campaign(SCRAP))
    at = 4 * HOUR_S
    typo = plan_words(world, campaign(replace(SCRAP, name="scarp_rate")), at)
    assert "no device of this rollout has reported a number named scarp_rate in the newest 2 d" in typo
    assert "known are scrap_rate" in typo
    unseen = plan_words(world, campaign(replace(ONES, name="7")), at)
    assert 'has answered "7"' in unseen
    assert "known are 0, 1" in unseen
    later = plan_words(world, campaign(replace(SCRAP, name="later", on_missing="skip")), at)
    assert "no numbers named later have come from these devices so far" in later


def test_a_rule_that_no_release_could_trip_is_refused(store: TelemetryStore) -> None:
    world = lived(store, campaign(ONES))
    words = plan_words(world, campaign(replace(ONES, threshold=0.65)), 4 * HOUR_S)
    assert "rule class_share 1: 3 devices against 9" in words
    assert "it can never fail" in words


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (replace(SCRAP, name=""), 'metric_increase needs name = "...", the number that applications report'),
        (replace(ONES, name=""), 'class_share needs name = "...", the answer'),
        (Rule(metric="error_ratio", name="x", threshold=0.1), "error_ratio has no name"),
        (replace(ONES, change="absolute"), "is for metric_increase and metric_decrease alone"),
        (replace(ONES, threshold=1.0), "allows 100%: it can never fail"),
        (replace(YIELD, threshold=1.0), "allows 100%: it can never fail"),
        (replace(YIELD, threshold=5.0, change="absolute"), ""),
    ],
)
def test_a_rule_with_an_unused_name_or_change_is_refused(rule: Rule, words: str) -> None:
    strategy = Strategy(name="s", waves=(ALL,), rules=(rule,))
    if not words:
        check_strategy(strategy)
        return
    with pytest.raises(BadInput, match="strategy_invalid") as refused:
        check_strategy(strategy)
    assert words in refused.value.detail


def test_a_regression_has_no_classes() -> None:
    with pytest.raises(BadInput, match="a regression answers numbers, not classes"):
        check_task(Strategy(name="s", waves=(ALL,), rules=(ONES,)), "regression")
    check_task(Strategy(name="s", waves=(ALL,), rules=(ONES,)), "classification")
