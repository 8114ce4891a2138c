"""Strategies that are refused, what a rule can detect, and the defaults of a plan."""

import math
import random
from typing import Any

import pytest
from msgspec.structs import replace

from contract.desired import TrialPolicy
from contract.errors import BadInput
from controller.rollout import evidence
from controller.rollout.analysis import Counts, Evidence
from controller.rollout.check import check_power, check_strategy
from controller.rollout.facts import Sums
from controller.rollout.model import Member, Rollout, Rule, Strategy, Wave
from controller.rollout.power import Shown, past_of, power_of, shown_by, smallest_found, why_it_cannot_trip
from controller.rollout.rows import Rows
from controller.rollout.verdict import RuleVerdict
from tests.controller.rollout_worlds import OLD, STRATEGY
from tests.controller.rule_verdicts import ALL, looked_at

# Strategies that are refused.


def refusal(**changes: Any) -> str:
    try:
        check_strategy(replace(STRATEGY, **changes))
    except BadInput as error:
        return error.detail
    return ""


SHADOW = Wave(percent=20, mode="shadow")


@pytest.mark.parametrize(
    "waves",
    [
        (ALL,),
        (SHADOW, Wave(percent=20), ALL),
        (SHADOW, ALL),
        (Wave(count=3), Wave(percent=10), ALL),
        (Wave(devices=("d0",)), ALL),
        (Wave(selector={"a": "b"}), ALL),
        (Wave(stratum="arm"), ALL),
        (Wave(each_stratum=True), ALL),
        (Wave(percent=99), ALL),
    ],
)
def test_every_way_to_define_a_wave_is_accepted(waves: tuple[Wave, ...]) -> None:
    assert refusal(waves=waves) == ""


def test_contradicting_waves_are_refused() -> None:
    assert "percents must rise" in refusal(waves=(Wave(percent=30), Wave(percent=20), ALL))
    assert "percents must rise" in refusal(waves=(SHADOW, Wave(percent=20), Wave(percent=20), ALL))
    assert "percents must rise" in refusal(waves=(SHADOW, Wave(percent=10), ALL))
    assert "a shadow wave comes before" in refusal(waves=(Wave(percent=10), SHADOW, ALL))
    for last in (Wave(percent=99), Wave(count=9), Wave(percent=100, mode="shadow")):
        assert "the last wave must be" in refusal(waves=(Wave(percent=20), last))
    for two in ({"count": 1, "devices": ("a",)}, {"stratum": "a", "selector": {"a": "b"}}, {"each_stratum": True}):
        assert "waves[0]: name one of" in refusal(waves=(Wave(percent=5, **two), ALL))
    assert "waves[1]: name one of" in refusal(waves=(Wave(percent=5), Wave(), ALL))


def test_agreement_needs_a_shadow_or_a_reverse_share() -> None:
    rules = (Rule(metric="agreement", threshold=0.9),)
    assert "nothing is compared" in refusal(rules=rules)
    assert refusal(rules=rules, waves=(SHADOW, ALL)) == ""
    assert refusal(rules=rules, trial=TrialPolicy(reverse_share=1)) == ""  # type: ignore[arg-type]
    assert refusal(rules=(Rule(metric="error_ratio", threshold=0.9),)) == ""


def test_a_stratum_rolls_back_alone_only_if_it_is_judged_alone() -> None:
    rule = Rule(metric="failed_ratio", threshold=0.0, on_fail="roll_back_stratum")
    assert "needs scope" in refusal(rules=(rule,))
    assert refusal(rules=(replace(rule, scope="stratum"),)) == ""
    assert "maintenance hours" in refusal(trial=TrialPolicy(maintenance=("02:00-03:00", "noon")))


def power(strategy: Strategy, waves: dict[str, int], strata: dict[str, str] | None = None) -> str:
    members = [Member(device=name, wave=wave, stratum=(strata or {}).get(name, "")) for name, wave in waves.items()]
    try:
        check_power(strategy, members)
    except BadInput as error:
        return error.detail
    return ""


def test_a_rule_needs_no_more_devices_than_the_first_wave_with_devices() -> None:
    def needing(count: int, **changes: Any) -> Strategy:
        return replace(STRATEGY, rules=(Rule(metric="failed_ratio", threshold=0.1, min_samples=count, **changes),))

    waves = {"a": 1, "b": 1, "c": 2, "d": 2, "e": 2}
    assert power(needing(2), waves) == ""
    assert "needs 3 decided devices and the first wave has 2: it could never pass" in power(needing(3), waves)
    kinds = {"a": "arm", "b": "x86", "c": "x86", "d": "x86", "e": "x86"}
    assert power(needing(1, scope="stratum"), waves, kinds) == ""
    assert "has 1 of its smallest stratum" in power(needing(2, scope="stratum"), waves, kinds)
    measured = replace(STRATEGY, rules=(Rule(metric="error_ratio", threshold=2.0, min_samples=99),))
    assert power(measured, waves) == ""


def test_a_threshold_of_one_or_more_could_never_trip() -> None:
    for threshold, fine in ((0.99, True), (1.0, False), (1.5, False)):
        strategy = replace(STRATEGY, rules=(Rule(metric="silent_ratio", threshold=threshold),))
        assert (power(strategy, {"a": 0}) == "") is fine


SHOWN = Shown(spread=0.02, devices=45, per_hour=120.0, noise_of_one=0.09)
ACCURACY = Rule(metric="accuracy_drop", threshold=0.01, min_samples=100)
DAY_S = 86_400.0


def test_the_detectable_harm_of_a_rule_is_given_in_devices_and_hours() -> None:
    said = power_of(ACCURACY, 5, 45, DAY_S, shown=SHOWN)
    assert said.startswith("5 devices against 45 in 24 h, 2880 labels each: finds a harm of ")
    assert "with 80 %; between 1.0 points (allowed) and that much nothing trips in this wave" in said
    assert said.endswith("45 devices of this fleet have shown that they move by 2.0 points")
    assert "assumed that devices move by 1.5 points" in power_of(
        ACCURACY, 5, 45, DAY_S, shown=Shown(0.015, per_hour=120.0)
    )
    few = power_of(ACCURACY, 5, 45, 300.0, shown=SHOWN)
    assert few == "5 devices give about 50 labels in 5 min, 100 needed: that takes 10 min"


def test_the_stated_smallest_detectable_harm_is_found_in_four_of_five_rollouts() -> None:
    finds = smallest_found(ACCURACY, 5, 45, 5 * 2880, shown=SHOWN)
    sd = math.sqrt((0.02**2 + 0.09 / 2880) * (1 / 5 + 1 / 45))
    half = evidence.detectable(sd**2, 4 + 44 + 10) - 0.8416 * sd
    rng = random.Random(5)
    tripped = sum(rng.gauss(finds, sd) - half > ACCURACY.threshold for _ in range(2000))
    assert tripped / 2000 == pytest.approx(0.8, abs=0.03)


def test_more_devices_and_hours_detect_less_harm_and_different_devices_detect_more() -> None:
    def at(first: int, samples: int, spread: float = 0.02) -> float:
        return smallest_found(ACCURACY, first, 200, first * samples, shown=replace(SHOWN, spread=spread))

    assert at(50, 2880) < at(5, 2880) < at(5, 100)
    assert at(5, 2880, 0.05) > at(5, 2880)


def test_a_rule_that_the_worst_release_could_not_trip_is_refused_in_devices_and_hours() -> None:
    wide = replace(ACCURACY, threshold=0.99)
    words = why_it_cannot_trip(wide, 5, 45, DAY_S, shown=SHOWN)
    assert words.startswith("rule accuracy_drop: 5 devices against 45 in 24 h find a harm of ")
    assert "it can never fail" in words
    assert why_it_cannot_trip(ACCURACY, 5, 45, DAY_S, shown=SHOWN) == ""
    assert why_it_cannot_trip(Rule(metric="error_increase", threshold=9.0), 1, 1, 60.0, shown=SHOWN) == ""


def test_the_past_of_a_fleet_shows_the_movement_of_its_devices_without_a_release() -> None:
    def shown(spread: float) -> Shown:
        rng, rows = random.Random(3), Rows()
        for number in range(60):
            moved = rng.gauss(0.0, spread)
            for hour in range(48):
                right = round(2000 * (0.85 + moved * (hour >= 24)))
                rows.add(f"d{number}", hour * 3600.0, Sums(labelled=2000, correct=right), treated=False)
        return shown_by("accuracy_drop", past_of(rows.table(), {f"d{number}": "" for number in range(60)}), DAY_S)

    quiet, restless = shown(0.01), shown(0.04)
    assert (quiet.devices, round(quiet.per_hour, -2)) == (60, 2000)
    assert restless.spread == pytest.approx(0.04, rel=0.3)
    assert quiet.spread < 0.02 < restless.spread
    nothing = shown_by("accuracy_drop", past_of(Rows().table(), {}), DAY_S)
    assert (nothing.devices, nothing.spread) == (0, evidence.ASSUMED["accuracy_drop"].differences)


# Defaults that a plan is made of.


def test_a_rollout_starts_with_nothing_done() -> None:
    bare = Rollout(id="r", model="m", release=2, digest=OLD, strategy=STRATEGY, members=())
    assert (bare.status, bare.wave, bare.promoted, bare.wave_done_at) == ("running", 0, -1, None)
    assert (bare.began_at, bare.wave_began_at, bare.evidence_since) == (0.0, 0.0, 0.0)
    assert (bare.reason, bare.created_by, bare.approved_by, bare.created_at) == ("", "", "", "")
    member = Member(device="d", wave=0)
    assert (member.stratum, member.digest, member.previous_release, member.previous_digest, member.late) == (
        "",
        "",
        0,
        "",
        False,
    )
    assert RuleVerdict("agreement", "pass", "").stratum == ""
    assert (Evidence(Counts(), looked_at()).strata, Counts().decided, Counts().pending, Counts().rejected) == (
        1,
        0,
        0,
        0,
    )
    strategy = Strategy(name="s", waves=(ALL,))
    assert (strategy.attempts, strategy.max_concurrent, strategy.per_minute, strategy.preflight) == (1, 0, 0.0, True)
    assert (strategy.start_s, strategy.deadline_s, strategy.retry_s) == (86_400.0, 86_400.0, 60.0)
    assert (strategy.strata, strategy.growth_per_minute, strategy.jitter_s) == (("machine", "memory"), 1.0, 0.0)
    rule = Rule(metric="agreement", threshold=0.5)
    assert (rule.scope, rule.min_samples, rule.judged_s, rule.on_missing, rule.on_fail) == (
        "fleet",
        1,
        0.0,
        "wait",
        "roll_back",
    )
    wave = Wave()
    assert (wave.mode, wave.soak_s, wave.hold, wave.stratum, wave.each_stratum) == ("serve", 0.0, False, "", False)
