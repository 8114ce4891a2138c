"""The pure rollout engine: plan, analysis, decide."""

import tomllib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as change

from contract.errors import BadInput, Code
from contract.messages import ModelState, Outcome, VersionRef
from controller.fleet.twin import Assigned, PresenceWord
from controller.operations import _check_strategy, resolve_strategy
from controller.rollout.analysis import Evidence, judge
from controller.rollout.decide import Decision, Offer, decide, outcome_of
from controller.rollout.facts import DeviceFact, Sums
from controller.rollout.model import Rollout, Rule, Strategy, Wave
from controller.rollout.plan import plan_members
from controller.rollout.strategies import STRATEGIES

NEW, OLD = "n" * 64, "o" * 64
STRATEGY = Strategy(
    name="s",
    waves=(Wave(percent=20, soak_s=10.0), Wave(percent=100)),
    rules=(Rule(metric="failed_ratio", threshold=0.0),),
    deadline_s=100.0,
)
DEVICES = [f"d{number}" for number in range(5)]


def rollout(strategy: Strategy = STRATEGY, **fields: object) -> Rollout:
    members = plan_members("r-1", DEVICES, strategy, dict.fromkeys(DEVICES, 1))
    return msgspec.structs.replace(
        Rollout(id="r-1", model="m", release=2, digest=NEW, strategy=strategy, members=members), **fields
    )


def fact(
    device: str,
    *,
    assigned: int | None = 1,
    stable: int | None = 1,
    failed: str = "",
    presence: PresenceWord = "online",
    sums: dict[int, Sums] | None = None,
) -> DeviceFact:
    refs = {1: VersionRef(release=1, digest=OLD), 2: VersionRef(release=2, digest=NEW)}
    outcome = Outcome(generation=7, version=refs[2], result="rolled_back", code=failed) if failed else None
    state = ModelState(
        model="m",
        phase="steady",
        generation=7,
        stable=refs[stable] if stable else None,
        serving=refs[stable].digest if stable else "",
        outcome=outcome,
    )
    given = Assigned(release=assigned, generation=7, rollout="r-1") if assigned else None
    return DeviceFact(device, presence, given, state, sums or {})


def facts(**special: DeviceFact) -> dict[str, DeviceFact]:
    return {device: special.get(device, fact(device)) for device in DEVICES}


CANARY = rollout().members[0].device


def outcome(world: dict[str, DeviceFact], now: float) -> str:
    """Where the canary stands."""
    return outcome_of(rollout(), rollout().members[0], world[CANARY], now)


def test_the_canary_is_offered_the_release_and_nobody_else() -> None:
    assert decide(rollout(), facts(), 0.0).offers == (Offer(CANARY, "m", 2),)


def test_the_same_facts_ask_for_the_same_again_and_new_facts_for_nothing() -> None:
    first = decide(rollout(), facts(), 0.0)
    assert decide(first.rollout, facts(), 1.0).offers == first.offers
    told = facts(**{CANARY: fact(CANARY, assigned=2)})
    assert decide(first.rollout, told, 2.0).offers == ()


def test_the_next_wave_waits_for_the_soak_of_the_one_before() -> None:
    done = facts(**{CANARY: fact(CANARY, assigned=2, stable=2)})
    noticed = decide(rollout(), done, 50.0).rollout
    assert (noticed.wave, noticed.wave_done_at) == (0, 50.0)
    assert decide(noticed, done, 59.0).rollout == noticed
    promoted = decide(noticed, done, 60.0).rollout
    assert (promoted.wave, promoted.wave_began_at, promoted.wave_done_at) == (1, 60.0, None)
    assert len(decide(promoted, done, 61.0).offers) == 4


def test_it_completes_when_the_last_wave_is_done() -> None:
    everywhere = {device: fact(device, assigned=2, stable=2) for device in DEVICES}
    at_end = rollout(wave=1, wave_done_at=10.0)
    assert decide(at_end, everywhere, 10.0).rollout.status == "completed"
    assert decide(decide(at_end, everywhere, 10.0).rollout, everywhere, 11.0) == Decision(
        decide(at_end, everywhere, 10.0).rollout
    )


def test_a_failed_canary_rolls_the_rollout_back_with_the_reason() -> None:
    after = decide(rollout(), facts(**{CANARY: fact(CANARY, assigned=2, failed="health_accuracy")}), 5.0)
    assert (after.rollout.status, after.offers) == ("rolling_back", ())
    assert "1 of 1 decided devices failed" in after.rollout.reason


def test_rolling_back_offers_the_last_confirmed_release_and_ends_when_devices_say_so() -> None:
    rolling = rollout(status="rolling_back")
    told_new = facts(**{CANARY: fact(CANARY, assigned=2, stable=2)})
    assert decide(rolling, told_new, 0.0).offers == (Offer(CANARY, "m", 1),)
    still_new = facts(**{CANARY: fact(CANARY, assigned=1, stable=2)})
    assert decide(rolling, still_new, 0.0) == Decision(rolling)
    assert decide(rolling, facts(), 0.0).rollout.status == "rolled_back"


def test_an_offline_device_does_not_hold_up_a_roll_back_but_is_told() -> None:
    rolling = rollout(status="rolling_back")
    away = facts(**{CANARY: fact(CANARY, assigned=2, stable=2, presence="offline")})
    assert decide(rolling, away, 0.0).offers == (Offer(CANARY, "m", 1),)
    away = facts(**{CANARY: fact(CANARY, assigned=1, stable=2, presence="offline")})
    assert decide(rolling, away, 0.0).rollout.status == "rolled_back"


def test_a_device_without_a_confirmed_release_is_told_to_run_none() -> None:
    members = plan_members("r-1", DEVICES, STRATEGY, {})
    rolling = rollout(status="rolling_back", members=members)
    assert decide(rolling, facts(**{CANARY: fact(CANARY, assigned=2, stable=None)}), 0.0).offers == (
        Offer(CANARY, "m", 0),
    )


def test_a_paused_rollout_starts_nobody_but_rules_go_on_judging() -> None:
    paused = rollout(status="paused")
    assert decide(paused, facts(), 0.0).offers == ()
    assert decide(paused, facts(**{CANARY: fact(CANARY, assigned=2, failed="x")}), 0.0).rollout.status == "rolling_back"


def test_a_failure_that_was_resumed_over_does_not_trip_again() -> None:
    failed = facts(**{CANARY: fact(CANARY, assigned=2, failed="x")})
    resumed = rollout(acknowledged=(CANARY,))
    assert decide(resumed, failed, 0.0).rollout.status == "running"


def test_a_silent_device_fails_at_its_deadline_and_an_offline_one_counts_neither_way() -> None:
    quiet = facts(**{CANARY: fact(CANARY, assigned=2, presence="silent")})
    assert outcome(quiet, 99.0) == "pending"
    assert outcome(quiet, 101.0) == "failed"
    away = facts(**{CANARY: fact(CANARY, assigned=2, presence="offline")})
    assert outcome(away, 101.0) == "absent"
    assert decide(rollout(), away, 101.0).rollout.status == "running"


def test_success_is_what_the_device_says_it_runs_not_what_it_was_told() -> None:
    assert outcome(facts(**{CANARY: fact(CANARY, assigned=2, stable=1)}), 0.0) == "pending"
    assert outcome(facts(**{CANARY: fact(CANARY, assigned=1, stable=2)}), 0.0) == "succeeded"


def test_at_most_one_step_a_pass() -> None:
    everywhere = {device: fact(device, assigned=2, stable=2) for device in DEVICES}
    state, seen = rollout(), []
    for second in range(30):
        state = decide(state, everywhere, float(second)).rollout
        seen.append((state.wave, state.status))
    assert seen[0] == (0, "running")
    assert (1, "running") in seen
    assert seen[-1] == (1, "completed")


names = st.lists(st.from_regex(r"\A[a-z][a-z0-9]{0,8}\Z"), min_size=1, max_size=60, unique=True)


@given(names, st.integers(1, 99), st.integers(1, 99))
def test_a_raised_percent_only_adds_devices(devices: list[str], one: int, other: int) -> None:
    low, high = sorted((one, other))
    waves = [
        {
            member.device
            for member in plan_members("r", devices, Strategy(name="s", waves=(Wave(percent=p), Wave(percent=100))), {})
            if member.wave == 0
        }
        for p in (low, high)
    ]
    assert waves[0] <= waves[1]


@given(names, st.lists(st.integers(1, 99), unique=True, max_size=5))
def test_every_device_is_in_exactly_one_wave_and_none_is_empty_while_devices_last(
    devices: list[str], percents: list[int]
) -> None:
    strategy = Strategy(name="s", waves=tuple(Wave(percent=p) for p in [*sorted(percents), 100]))
    members = plan_members("r", devices, strategy, {})
    assert sorted(member.device for member in members) == sorted(devices)
    used = [member.wave for member in members]
    assert sorted(set(used)) == list(range(max(used) + 1))


def sums(inferences: int, *, errors: int = 0, accuracy: float | None = None, bucket: int = 10) -> Sums:
    histogram = tuple(inferences if index == bucket else 0 for index in range(54))
    labelled = inferences if accuracy is not None else 0
    return Sums(inferences, errors, labelled, round(labelled * (accuracy or 0)), histogram)


NOTHING = Sums()


def word(rule: Rule, treated: Sums = NOTHING, control: Sums = NOTHING, **counts: int) -> str:
    return judge(rule, Evidence(treated, control, **{"succeeded": 0, "failed": 0, "pending": 0, **counts})).word


def test_the_failed_ratio_counts_decided_devices_only() -> None:
    rule = Rule(metric="failed_ratio", threshold=0.2)
    assert word(rule, pending=10) == "inconclusive"
    assert word(rule, succeeded=4, failed=1, pending=3) == "pass"
    assert word(rule, succeeded=3, failed=1, pending=0) == "fail"
    cautious = change_rule(rule, min_samples=5)
    assert word(cautious, failed=1, pending=9) == "inconclusive"
    assert word(cautious, failed=3, pending=7) == "fail", "whatever the others do, 3 of 10 is too many"


def test_missing_data_is_never_a_pass_unless_the_rule_is_skipped() -> None:
    rule = Rule(metric="error_ratio", threshold=0.1, min_samples=50)
    assert word(rule) == "inconclusive"
    assert word(change_rule(rule, on_missing="skip")) == "pass"
    assert word(change_rule(rule, on_missing="skip"), sums(10)) == "inconclusive"


def change_rule(rule: Rule, **fields: object) -> Rule:
    return msgspec.structs.replace(rule, **fields)


def test_errors_latency_and_accuracy_are_judged_against_their_thresholds() -> None:
    errors = Rule(metric="error_ratio", threshold=0.1, min_samples=50)
    assert (word(errors, sums(100, errors=10)), word(errors, sums(100, errors=11))) == ("pass", "fail")
    latency = Rule(metric="latency_ratio_p95", threshold=2.0, min_samples=50)
    assert (word(latency, sums(100, bucket=12), sums(100)), word(latency, sums(100, bucket=13), sums(100))) == (
        "pass",
        "fail",
    )
    accuracy = Rule(metric="accuracy_drop", threshold=0.05, min_samples=50)
    assert word(accuracy, sums(1000, accuracy=0.7), sums(1000, accuracy=0.9)) == "fail"
    assert word(accuracy, sums(1000, accuracy=0.86), sums(1000, accuracy=0.9)) == "pass"
    assert word(accuracy, sums(60, accuracy=0.83), sums(60, accuracy=0.9)) == "pass", "chance explains it"


def test_the_control_is_devices_whose_turn_has_not_come() -> None:
    strategy = msgspec.structs.replace(STRATEGY, rules=(Rule(metric="accuracy_drop", threshold=0.05, min_samples=100),))
    bad, good = {2: sums(500, accuracy=0.5)}, {1: sums(500, accuracy=0.9)}
    world = {device: change(fact(device), sums=good) for device in DEVICES}
    world[CANARY] = change(fact(CANARY, assigned=2, stable=2), sums=bad)
    after = decide(rollout(strategy), world, 0.0)
    assert after.rollout.status == "rolling_back"
    assert "accuracy 0.500 of 500 against 0.900 of 2000" in after.rollout.reason


@pytest.mark.parametrize(("on_fail", "status"), [("pause", "paused"), ("roll_back", "rolling_back")])
def test_on_fail_is_what_happens(on_fail: str, status: str) -> None:
    strategy = msgspec.structs.replace(STRATEGY, rules=(Rule(metric="failed_ratio", threshold=0.0, on_fail=on_fail),))
    assert (
        decide(rollout(strategy), facts(**{CANARY: fact(CANARY, assigned=2, failed="x")}), 0.0).rollout.status == status
    )


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_the_shipped_strategy_files_are_those_of_the_code(name: str) -> None:
    path = Path(__file__).parents[2] / "configs" / "rollouts" / f"{name}.toml"
    assert resolve_strategy(tomllib.loads(path.read_text())) == STRATEGIES[name]


def test_every_strategy_file_has_its_code() -> None:
    files = (Path(__file__).parents[2] / "configs" / "rollouts").glob("*.toml")
    assert sorted(path.stem for path in files) == sorted(STRATEGIES)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ("nonsense", "canary"),
        ({"name": "s"}, "waves"),
        ({"name": "s", "waves": []}, "waves"),
        ({"name": "s", "waves": [{"percent": 101}]}, "percent"),
        ({"name": "s", "waves": [{"percent": 100}], "soak": 3}, "soak"),
        ({"name": "s", "waves": [{"percent": 100}], "rules": [{"metric": "mood", "threshold": 1}]}, "mood"),
    ],
    ids=["unknown name", "no waves", "empty waves", "range", "unknown key", "unknown metric"],
)
def test_a_strategy_that_makes_no_sense_is_refused_with_the_field(fields: object, said: str) -> None:
    with pytest.raises(BadInput) as caught:
        resolve_strategy(fields)  # type: ignore[arg-type]
    assert caught.value.code == Code.STRATEGY_INVALID
    assert said in caught.value.detail


@pytest.mark.parametrize("percents", [(50,), (50, 20, 100), (20, 20, 100)])
def test_waves_must_rise_to_the_whole_fleet(percents: tuple[int, ...]) -> None:
    with pytest.raises(BadInput):
        _check_strategy(Strategy(name="s", waves=tuple(Wave(percent=p) for p in percents)))
