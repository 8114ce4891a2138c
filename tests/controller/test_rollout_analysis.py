"""Rules: verdicts with their numbers, two sides matched in kind and time, and tests that may be repeated."""

import numpy as np
import pytest
from msgspec.structs import replace

from contract.captured import CapturedRow
from controller.rollout import evidence
from controller.rollout.analysis import Counts, Evidence, compared, judge, judge_all
from controller.rollout.decide import decide
from controller.rollout.facts import BUCKET_S, Sums
from controller.rollout.late import judge_late
from controller.rollout.model import Rule
from controller.rollout.rows import Rows
from tests.controller.rollout_worlds import CANARY, DEVICES, STRATEGY, done, facts, measured, rollout, sums, targets
from tests.controller.rule_verdicts import Cell, fleet, looked_at, verdict, word


def test_ratios_of_devices_count_decided_devices_only() -> None:
    rule = Rule(metric="failed_ratio", threshold=0.2)
    assert word(rule, pending=10) == "inconclusive"
    assert word(rule, succeeded=4, failed=1, pending=3) == "pass"
    assert word(rule, succeeded=3, failed=1) == "fail"
    cautious = replace(rule, min_samples=5)
    assert word(cautious, failed=1, pending=9) == "inconclusive"
    assert word(cautious, failed=3, pending=7) == "fail", "whatever the others do, 3 of 10 is too many"


@pytest.mark.parametrize(("metric", "kind"), [("rejected_ratio", "rejected"), ("silent_ratio", "silent")])
def test_probe_verdicts_and_silence_have_their_own_rules(metric: str, kind: str) -> None:
    rule = Rule(metric=metric, threshold=0.1)  # type: ignore[arg-type]
    assert word(rule, succeeded=5, failed=5) == "pass"
    assert word(rule, succeeded=5, failed=5, **{kind: 5}) == "fail"


def test_missing_data_is_never_a_pass_unless_the_rule_is_skipped() -> None:
    rule = Rule(metric="error_ratio", threshold=0.1, min_samples=50)
    assert word(rule) == "inconclusive"
    assert word(replace(rule, on_missing="skip")) == "no_data"
    assert word(replace(rule, on_missing="skip"), Cell(sums(10))) == "inconclusive"


def test_errors_latency_accuracy_and_agreement_are_judged_beyond_chance() -> None:
    errors = Rule(metric="error_ratio", threshold=0.1, min_samples=50)
    assert (word(errors, Cell(sums(500, errors=55))), word(errors, Cell(sums(500, errors=150)))) == ("pass", "fail")
    latency = Rule(metric="latency_ratio_p95", threshold=2.0, min_samples=50)
    assert word(latency, *fleet(sums(1000, bucket=12), sums(1000))) == "pass"
    assert word(latency, *fleet(sums(1000, bucket=13), sums(1000))) == "fail"
    accuracy = Rule(metric="accuracy_drop", threshold=0.05, min_samples=50)
    assert word(accuracy, *fleet(sums(1000, accuracy=0.7), sums(1000, accuracy=0.9))) == "fail"
    assert word(accuracy, *fleet(sums(1000, accuracy=0.86), sums(1000, accuracy=0.9))) == "pass"
    assert word(accuracy, *fleet(sums(12, accuracy=0.83), sums(12, accuracy=0.9))) == "pass", "chance explains it"
    agreement = Rule(metric="agreement", threshold=0.9, min_samples=50)
    agree = [word(agreement, *[Cell(sums(500, agreed=ratio))] * 3) for ratio in (0.92, 0.7)]
    assert agree == ["pass", "fail"]


def test_a_comparing_rule_needs_both_sides_in_the_same_minutes() -> None:
    rule = Rule(metric="accuracy_drop", threshold=0.05, min_samples=50)
    ours, theirs = Cell(treated=sums(500, accuracy=0.5), minute=1), Cell(control=sums(500, accuracy=0.9), minute=2)
    assert word(rule, ours, theirs) == "inconclusive"
    assert word(rule, ours, theirs._replace(minute=1)) == "fail"


def test_drift_of_the_inputs_does_not_count_against_the_release() -> None:
    """By day all answers are right, by night all are wrong; the release started in the evening."""
    rule = Rule(metric="accuracy_drop", threshold=0.02, min_samples=50)
    canaries, others = [f"c{number}" for number in range(5)], [f"o{number}" for number in range(20)]
    day = [Cell(control=sums(1000, accuracy=0.95), device=name, minute=0) for name in (*canaries, *others)]
    night = [Cell(sums(1000, accuracy=0.6), device=name, minute=1) for name in canaries]
    beside = [Cell(control=sums(1000, accuracy=0.6), device=name, minute=1) for name in others]
    assert word(rule, *day, *night, *beside) == "pass"
    bright = [cell._replace(control=sums(1000, accuracy=0.95)) for cell in beside]
    assert word(rule, *day, *night, *bright) == "fail", "were it bright for the others, it would be"


def test_devices_that_were_always_worse_do_not_count_against_the_release() -> None:
    rule = Rule(metric="accuracy_drop", threshold=0.02, min_samples=50)
    cells = []
    for number in range(20):
        level, canary = 0.8 + 0.01 * number, number in (0, 2, 5, 7, 9)
        cells.append(Cell(control=sums(5000, accuracy=level), device=f"d{number}", minute=0))
        now = sums(5000, accuracy=level)
        cells.append(Cell(now if canary else Sums(), Sums() if canary else now, f"d{number}", 1))
    found = verdict(rule, *cells)
    assert (found.word, found.figures is not None and abs(found.figures.value) < 0.005) == ("pass", True)
    without_past = verdict(rule, *[cell for cell in cells if cell.minute == 1])
    assert without_past.figures is not None
    assert without_past.figures.value > 0.05, "worse devices happen to be the canaries"
    assert without_past.word == "pass", "and how much devices differ is told from the others"


def test_a_bad_stratum_is_found_even_if_the_average_is_good() -> None:
    rule = Rule(metric="accuracy_drop", threshold=0.05, min_samples=50, scope="stratum")
    strategy = replace(STRATEGY, rules=(rule, replace(rule, scope="fleet", threshold=0.15)))
    made = rollout(strategy, among=[*targets(["a", "b"], "arm"), *targets(DEVICES, "x86")])
    bad = [(device, 0.0, sums(2000, accuracy=0.5), sums(2000, accuracy=0.9)) for device in ("a", "b")]
    good = [(device, 0.0, sums(5000, accuracy=0.9), sums(5000, accuracy=0.9)) for device in DEVICES]
    outcomes = {member.device: "pending" for member in made.members}
    verdicts = judge_all(made, measured(*bad, *good), outcomes, 0.0)  # type: ignore[arg-type]
    assert [(verdict.stratum, verdict.word) for verdict in verdicts] == [("arm", "fail"), ("x86", "pass"), ("", "pass")]


def test_a_rule_with_judged_s_ignores_older_data() -> None:
    rule = Rule(metric="error_ratio", threshold=0.1, min_samples=50)
    found = measured((CANARY, 0.0, sums(500, errors=400), None), (CANARY, 20 * BUCKET_S, sums(500), None))
    world, now = facts(**{CANARY: done(CANARY)}), 21 * BUCKET_S
    whole = replace(STRATEGY, rules=(rule,))
    newest = replace(STRATEGY, rules=(replace(rule, judged_s=5 * BUCKET_S),))
    assert decide(rollout(whole), world, found, now).rollout.status == "rolling_back"
    assert decide(rollout(newest), world, found, now).rollout.status == "running"


def test_repeated_checks_rarely_stop_a_good_release_on_different_devices() -> None:
    """60 rollouts of 40 devices whose accuracies lie 8 points apart, looked at after each of 12 hours."""
    rng = np.random.default_rng(7)
    assert sum(_ever_stopped(rng, drop=0.0) for _ in range(60)) == 0


def test_a_drop_of_six_points_is_found_nearly_always() -> None:
    rng = np.random.default_rng(8)
    assert sum(_ever_stopped(rng, drop=0.06) for _ in range(20)) >= 19


def _ever_stopped(rng: np.random.Generator, drop: float) -> bool:
    rule = Rule(metric="accuracy_drop", threshold=0.02, min_samples=100)
    levels, made = 0.75 + 0.08 * rng.normal(size=40), Rows()
    for hour in range(24):
        for number, right in enumerate(
            rng.binomial(200, np.clip(levels - drop * (np.arange(40) < 5) * (hour > 11), 0, 1))
        ):
            treated = number < 5 and hour > 11
            made.add(f"d{number}", hour * 3600.0, Sums(labelled=200, correct=int(right)), treated=treated)
        if hour > 11:
            found = compared(made.table(), dict.fromkeys((f"d{number}" for number in range(40)), ""), [""], 0.0)
            if judge(rule, Evidence(Counts(), found)).word == "fail":
                return True
    return False


def test_more_strata_need_more_evidence() -> None:
    effect = evidence.accuracy_drop(looked_at(*fleet(sums(1000, accuracy=0.8), sums(1000, accuracy=0.9))))
    assert effect is not None
    alone, among = evidence.interval_of(effect), evidence.interval_of(effect, 1000)
    assert among[0] < alone[0] < effect.value < alone[1] < among[1]


def test_the_sentence_holds_the_numbers() -> None:
    rule = Rule(metric="accuracy_drop", threshold=0.05, min_samples=100)
    found = verdict(rule, *fleet(sums(1000, accuracy=0.5), sums(1000, accuracy=0.9)))
    figures = found.figures
    assert figures is not None
    assert found.detail == (
        f"costs 40.0 points of accuracy [{figures.low * 100:.1f}, {figures.high * 100:.1f}] on 5 devices against 20 of "
        "their kinds and their own past (5000 against 20000 labelled), 5.0 points allowed"
    )
    assert (figures.value, figures.limit, figures.devices, figures.devices_beside) == (pytest.approx(0.4), 0.05, 5, 20)
    assert 0.05 < figures.finds < figures.low < 0.4 < figures.high


def test_a_rule_that_requires_proof_of_no_harm_waits_until_the_whole_interval_is_allowed() -> None:
    rule = Rule(metric="accuracy_drop", threshold=0.02, min_samples=100)
    strict = replace(rule, needs="shown_harmless")
    few, many = (fleet(sums(count, accuracy=0.9), sums(count, accuracy=0.9), canaries=10) for count in (100, 20_000))
    assert (word(rule, *few), word(strict, *few)) == ("pass", "inconclusive")
    assert (word(rule, *many), word(strict, *many)) == ("pass", "pass")


def test_a_pass_whose_interval_reaches_past_the_limit_says_that_no_harm_was_shown_and_no_more() -> None:
    rule = Rule(metric="accuracy_drop", threshold=0.02, min_samples=100)
    few, many = (
        verdict(rule, *fleet(sums(count, accuracy=0.9), sums(count, accuracy=0.9), canaries=10))
        for count in (100, 20_000)
    )
    assert (few.word, few.is_across, few.says) == ("pass", True, "shows no harm so far")
    assert few.detail.endswith("no harm beyond the limit is shown, but the interval reaches past it")
    assert (many.word, many.is_across, many.says) == ("pass", False, "passes")
    assert many.detail.endswith("2.0 points allowed")


def test_one_failing_canary_in_a_fleet_with_one_failure_in_ten_does_not_fail_a_release() -> None:
    """The broken one happens to be the canary: as likely as any other, so nothing is beyond chance."""
    rule = Rule(metric="accuracy_drop", threshold=0.02, min_samples=50)
    right, wrong = sums(2000, accuracy=0.9), sums(2000, accuracy=0.5)
    cells = [Cell(wrong, device="canary", minute=1)]
    cells += [Cell(control=wrong if number % 10 == 0 else right, device=f"d{number}", minute=1) for number in range(30)]
    assert word(rule, *cells) != "fail"


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


def test_a_completed_rollout_is_judged_again_when_labels_arrive() -> None:
    ended = rollout(ACCURACY, status="completed", wave=1)
    (bad,) = judge_late(ended, [*kept("d0", 2, 0.6), *kept("d1", 1, 0.9), *kept("d2", 1, 0.9)])
    (good,) = judge_late(ended, [*kept("d0", 2, 0.9), *kept("d1", 1, 0.9)])
    misspelt = [(device, replace(row, label="Mittl")) for device, row in kept("d0", 2, 0.1)]
    right = [*kept("d0", 2, 0.9), *kept("d1", 1, 0.9)]
    (unmoved,) = judge_late(ended, [*right, *misspelt], frozenset({0.0, 1.0}))
    assert (unmoved.word, unmoved.detail) == (good.word, good.detail), "labels of no class say nothing of a version"
    assert (bad.word, good.word) == ("fail", "pass")


def test_rows_kept_for_low_confidence_do_not_represent_the_other_rows() -> None:
    ended = rollout(ACCURACY, status="completed", wave=1)
    (verdict,) = judge_late(ended, [*kept("d0", 2, 0.1, why="hard"), *kept("d1", 1, 0.9), *kept("stranger", 2, 0.1)])
    assert verdict.word == "inconclusive"
