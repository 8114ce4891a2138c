"""Strategies that are refused, what a rule can detect, and the defaults of a plan."""

from typing import Any

import pytest
from msgspec.structs import replace

from contract.desired import TrialPolicy
from contract.errors import BadInput
from controller.rollout import evidence
from controller.rollout.analysis import Counts, Evidence, RuleVerdict
from controller.rollout.check import check_power, check_strategy, power_of
from controller.rollout.model import Member, Rollout, Rule, Strategy, Wave
from tests.controller.rollout_worlds import OLD, STRATEGY
from tests.controller.rule_verdicts import ALL

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
def test_every_way_to_name_a_wave_is_accepted(waves: tuple[Wave, ...]) -> None:
    assert refusal(waves=waves) == ""


def test_waves_that_contradict_each_other_are_refused() -> None:
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


def test_a_stratum_goes_back_by_itself_only_if_it_is_judged_by_itself() -> None:
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


def test_a_rule_needs_no_more_devices_than_the_first_wave_that_has_any() -> None:
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


def test_a_share_of_one_or_more_could_never_trip() -> None:
    for threshold, fine in ((0.99, True), (1.0, False), (1.5, False)):
        strategy = replace(STRATEGY, rules=(Rule(metric="silent_ratio", threshold=threshold),))
        assert (power(strategy, {"a": 0}) == "") is fine


def test_what_a_rule_can_detect_is_said_in_a_sentence() -> None:
    ratio = Rule(metric="failed_ratio", threshold=0.1)
    assert power_of(ratio, 20, 0.0) == "20 devices: fails at 3 failed devices"
    latency = Rule(metric="latency_ratio_p95", threshold=2.0, min_samples=30)
    assert power_of(latency, 3, 10.0) == "3 devices x 10 inferences = 30: enough"
    assert power_of(latency, 3, 9.9) == "3 devices x 10 inferences = 29: 30 needed"
    errors = Rule(metric="error_ratio", threshold=0.02, min_samples=30)
    assert power_of(errors, 3, 9.0) == "3 devices x 9 inferences = 27, 30 needed"
    assert power_of(errors, 3, 10.0).startswith("3 devices x 10 inferences detect ")


@pytest.mark.parametrize(
    ("samples", "accuracy"), [(1, 0.9999), (100, 0.9), (10_000, 0.9), (10_000, 0.5), (1_000_000, 0.99)]
)
def test_the_smallest_excess_that_is_said_to_be_detected_is_detected_and_half_of_it_is_not(
    samples: int, accuracy: float
) -> None:
    rule = Rule(metric="accuracy_drop", threshold=0.02, min_samples=1)
    sentence = power_of(rule, samples, 1.0, accuracy)
    said = float(sentence.partition("detect ")[2].partition("%")[0]) / 100
    variance = 2.0 * accuracy * (1 - accuracy) / samples
    assert evidence.beyond(said + 0.0006, variance)
    assert not evidence.beyond(said - 0.0006, variance)
    assert sentence.endswith("beyond the 2.0% that the rule allows")


def test_without_a_sample_nothing_but_everything_is_detected() -> None:
    rule = Rule(metric="accuracy_drop", threshold=0.02, min_samples=1)
    assert power_of(replace(rule, min_samples=1), 1, 1.0).startswith("1 devices x 1 inferences detect 100.0%")


# Defaults that a plan is made of.


def test_a_rollout_begins_with_nothing_done() -> None:
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
    assert (Evidence(Counts(), ()).strata, Counts().decided, Counts().pending, Counts().rejected) == (1, 0, 0, 0)
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
