"""Rules: verdicts with their numbers, two sides matched in kind and time, tests that may be looked at at every pass."""

import random

import pytest
from msgspec.structs import replace

from contract.captured import CapturedRow
from controller.rollout import evidence
from controller.rollout.analysis import Counts, Evidence, judge, judge_all
from controller.rollout.decide import decide
from controller.rollout.facts import BUCKET_S, Cell, Sums
from controller.rollout.late import judge_late
from controller.rollout.model import Rule
from tests.controller.rollout_worlds import CANARY, DEVICES, STRATEGY, cells, done, facts, rollout, sums, targets


def word(rule: Rule, treated: Sums | None = None, control: Sums | None = None, **counts: int) -> str:
    cell = Cell(treated or Sums(), control or Sums())
    return judge(rule, Evidence(Counts(**counts), (cell,))).word


def test_ratios_of_devices_count_decided_devices_only() -> None:
    rule = Rule(metric="failed_ratio", threshold=0.2)
    assert word(rule, pending=10) == "inconclusive"
    assert word(rule, succeeded=4, failed=1, pending=3) == "pass"
    assert word(rule, succeeded=3, failed=1) == "fail"
    cautious = replace(rule, min_samples=5)
    assert word(cautious, failed=1, pending=9) == "inconclusive"
    assert word(cautious, failed=3, pending=7) == "fail", "whatever the others do, 3 of 10 is too many"


@pytest.mark.parametrize(("metric", "kind"), [("rejected_ratio", "rejected"), ("silent_ratio", "silent")])
def test_probe_verdicts_and_silence_are_rules_of_their_own(metric: str, kind: str) -> None:
    rule = Rule(metric=metric, threshold=0.1)  # type: ignore[arg-type]
    assert word(rule, succeeded=5, failed=5) == "pass"
    assert word(rule, succeeded=5, failed=5, **{kind: 5}) == "fail"


def test_missing_data_is_never_a_pass_unless_the_rule_is_skipped() -> None:
    rule = Rule(metric="error_ratio", threshold=0.1, min_samples=50)
    assert word(rule) == "inconclusive"
    assert word(replace(rule, on_missing="skip")) == "pass"
    assert word(replace(rule, on_missing="skip"), sums(10)) == "inconclusive"


def test_errors_latency_accuracy_and_agreement_are_judged_beyond_chance() -> None:
    errors = Rule(metric="error_ratio", threshold=0.1, min_samples=50)
    assert (word(errors, sums(500, errors=55)), word(errors, sums(500, errors=150))) == ("pass", "fail")
    latency = Rule(metric="latency_ratio_p95", threshold=2.0, min_samples=50)
    assert word(latency, sums(100, bucket=12), sums(100)) == "pass"
    assert word(latency, sums(100, bucket=13), sums(100)) == "fail"
    accuracy = Rule(metric="accuracy_drop", threshold=0.05, min_samples=50)
    assert word(accuracy, sums(1000, accuracy=0.7), sums(1000, accuracy=0.9)) == "fail"
    assert word(accuracy, sums(1000, accuracy=0.86), sums(1000, accuracy=0.9)) == "pass"
    assert word(accuracy, sums(60, accuracy=0.83), sums(60, accuracy=0.9)) == "pass", "chance explains it"
    agreement = Rule(metric="agreement", threshold=0.9, min_samples=50)
    assert (word(agreement, sums(500, agreed=0.92)), word(agreement, sums(500, agreed=0.7))) == ("pass", "fail")


def test_a_rule_that_compares_needs_both_sides_in_the_same_minutes() -> None:
    rule = Rule(metric="accuracy_drop", threshold=0.05, min_samples=50)
    apart = (Cell(treated=sums(500, accuracy=0.5)), Cell(control=sums(500, accuracy=0.9)))
    assert judge(rule, Evidence(Counts(), apart)).word == "inconclusive"


def test_a_world_that_drifts_is_not_held_against_the_release() -> None:
    """By day everybody is right, by night nobody is; the release came in the evening."""
    rule = Rule(metric="accuracy_drop", threshold=0.02, min_samples=50)
    day = Cell(sums(100, accuracy=0.95), sums(9000, accuracy=0.95))
    night = Cell(sums(9000, accuracy=0.6), sums(100, accuracy=0.6))
    assert judge(rule, Evidence(Counts(), (day, night))).word == "pass"
    pooled = Cell(evidence.total((day.treated, night.treated)), evidence.total((day.control, night.control)))
    assert judge(rule, Evidence(Counts(), (pooled,))).word == "fail", "without the match in time it would be"


def test_a_bad_stratum_cannot_hide_in_an_average() -> None:
    rule = Rule(metric="accuracy_drop", threshold=0.05, min_samples=50, scope="stratum")
    strategy = replace(STRATEGY, rules=(rule, replace(rule, scope="fleet", threshold=0.15)))
    made = rollout(strategy, among=[*targets(["a"], "arm"), *targets(DEVICES, "x86")])
    measured = cells(sums(200, accuracy=0.5), sums(500, accuracy=0.9), stratum="arm")
    measured |= cells(sums(2000, accuracy=0.9), sums(5000, accuracy=0.9), stratum="x86")
    outcomes = {member.device: "pending" for member in made.members}
    verdicts = judge_all(made, measured, outcomes, 0.0)  # type: ignore[arg-type]
    assert [(verdict.stratum, verdict.word) for verdict in verdicts] == [("arm", "fail"), ("x86", "pass"), ("", "pass")]


def test_a_rule_with_judged_s_forgets_what_is_older() -> None:
    rule = Rule(metric="error_ratio", threshold=0.1, min_samples=50)
    measured = cells(sums(500, errors=400), at=0.0) | cells(sums(500), at=20 * BUCKET_S)
    world, now = facts(**{CANARY: done(CANARY)}), 21 * BUCKET_S
    whole = replace(STRATEGY, rules=(rule,))
    newest = replace(STRATEGY, rules=(replace(rule, judged_s=5 * BUCKET_S),))
    assert decide(rollout(whole), world, measured, now).rollout.status == "rolling_back"
    assert decide(rollout(newest), world, measured, now).rollout.status == "running"


@pytest.mark.parametrize("accuracy", [0.6, 0.9, 0.98])
def test_looking_at_every_pass_hardly_ever_stops_a_good_release(accuracy: float) -> None:
    """Two equal sides, looked at after each 20 samples, 200 looks, 400 rollouts: at most the promised share, twice."""
    rng = random.Random(7)
    stopped = sum(_ever_stopped(rng, accuracy, accuracy) for _ in range(400))
    assert stopped <= 2 * 400 * evidence.FALSE_ALARM


def test_a_drop_of_five_points_is_seen_nearly_always() -> None:
    rng = random.Random(8)
    assert sum(_ever_stopped(rng, 0.85, 0.90) for _ in range(100)) >= 97


def _ever_stopped(rng: random.Random, treated: float, control: float) -> bool:
    ours = theirs = count = 0
    for _ in range(200):
        count += 20
        ours += sum(rng.random() < treated for _ in range(20))
        theirs += sum(rng.random() < control for _ in range(20))
        cell = Cell(Sums(labelled=count, correct=ours), Sums(labelled=count, correct=theirs))
        found = evidence.accuracy_drop([cell])
        if count >= 40 and found is not None and evidence.beyond(found.value, found.variance):
            return True
    return False


def test_more_strata_ask_for_more_evidence() -> None:
    found = evidence.ratio_of(80, 1000)
    assert evidence.beyond(found.value - 0.04, found.variance, 1)
    assert not evidence.beyond(found.value - 0.04, found.variance, 1000)


def test_the_sentence_holds_the_numbers() -> None:
    rule = Rule(metric="accuracy_drop", threshold=0.05, min_samples=100)
    cell = Cell(sums(500, accuracy=0.5), sums(2000, accuracy=0.9))
    detail = judge(rule, Evidence(Counts(), (cell,))).detail
    assert detail == (
        "accuracy 0.400 below what ran on the same kind of device in the same minutes (500 against 2000 labelled), "
        "0.050 allowed"
    )


def kept(
    device: str, release: int, correct: float, count: int = 400, why: str = "sampled"
) -> list[tuple[str, CapturedRow]]:
    return [
        (
            device,
            CapturedRow(
                at=float(number),
                model="m",
                release=release,
                why=why,  # type: ignore[arg-type]
                inputs={},
                value="1",
                label=1.0 if number < correct * count else "0",
            ),
        )
        for number in range(count)
    ]


ACCURACY = replace(STRATEGY, rules=(Rule(metric="accuracy_drop", threshold=0.02, min_samples=100), *STRATEGY.rules))


def test_a_finished_rollout_is_judged_again_when_labels_come() -> None:
    ended = rollout(ACCURACY, status="completed", wave=1)
    (bad,) = judge_late(ended, [*kept("d0", 2, 0.6), *kept("d1", 1, 0.9)])
    (good,) = judge_late(ended, [*kept("d0", 2, 0.9), *kept("d1", 1, 0.9)])
    assert (bad.word, good.word) == ("fail", "pass")


def test_rows_that_were_kept_for_being_hard_say_nothing_about_the_rest() -> None:
    ended = rollout(ACCURACY, status="completed", wave=1)
    (verdict,) = judge_late(ended, [*kept("d0", 2, 0.1, why="hard"), *kept("d1", 1, 0.9), *kept("stranger", 2, 0.1)])
    assert verdict.word == "inconclusive"
