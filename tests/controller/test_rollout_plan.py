"""Plans: the devices of each wave, the pace, excluded devices; and strategies that are refused before a start."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from contract.desired import TrialPolicy
from contract.errors import BadInput, Code
from contract.messages import Hardware, Heartbeat, ModelState
from controller.fleet.fit import forms_of, stratum_of, why_unfit
from controller.fleet.twin import Twin, fold_heartbeat
from controller.reconcile.preview import plan_rollout, preview
from controller.reconcile.world import Durable, World
from controller.rollout.check import check_power, check_strategy
from controller.rollout.decide import decide
from controller.rollout.model import Rule, Strategy, Wave
from controller.rollout.pace import allowed, due
from controller.rollout.plan import Target, expand, plan_members
from controller.rollout.rows import Rows
from controller.rollout.strategies import STRATEGIES
from controller.verbs.rollouts import resolve_strategy
from firmware_sim.models import make_model
from tests.controller.rollout_worlds import REFS, STRATEGY, fact, rollout, targets

CONFIGS = Path(__file__).parents[2] / "configs" / "rollouts"
names = st.lists(st.from_regex(r"\A[a-z][a-z0-9]{0,8}\Z"), min_size=1, max_size=60, unique=True)


def waves_of(strategy: Strategy, among: list[Target]) -> dict[int, set[str]]:
    expanded = expand(strategy, among)
    found: dict[int, set[str]] = {}
    for member in plan_members("m v2", among, expanded, {}):
        found.setdefault(member.wave, set()).add(member.device)
    return found


@given(names, st.integers(1, 99), st.integers(1, 99))
def test_a_higher_percentage_only_adds_devices(devices: list[str], one: int, other: int) -> None:
    low, high = sorted((one, other))
    first = [
        waves_of(Strategy(name="s", waves=(Wave(percent=p), Wave(percent=100))), targets(devices))[0]
        for p in (low, high)
    ]
    assert first[0] <= first[1]


@given(names, st.lists(st.integers(1, 99), unique=True, max_size=5))
def test_every_device_is_in_exactly_one_wave_and_no_wave_is_empty_while_devices_are_left(
    devices: list[str], percents: list[int]
) -> None:
    strategy = Strategy(name="s", waves=tuple(Wave(percent=p) for p in [*sorted(percents), 100]))
    found = waves_of(strategy, targets(devices))
    assert sorted(name for wave in found.values() for name in wave) == sorted(devices)
    assert sorted(found) == list(range(max(found) + 1))


def test_each_kind_of_device_is_in_the_first_wave() -> None:
    fleet = [*targets([f"a{n}" for n in range(3)], "arm"), *targets([f"x{n}" for n in range(97)], "x86")]
    first = waves_of(Strategy(name="s", waves=(Wave(percent=5), Wave(percent=100))), fleet)[0]
    assert sorted(name[0] for name in first) == ["a", "x", "x", "x", "x", "x"]


def test_waves_are_given_by_count_list_selector_and_stratum() -> None:
    fleet = [Target(f"d{n}", "arm" if n < 4 else "x86", {"site": "north" if n % 2 else "south"}) for n in range(12)]
    waves = (
        Wave(devices=("d3", "d7")),
        Wave(count=3),
        Wave(selector={"site": "north"}),
        Wave(stratum="arm"),
        Wave(percent=100),
    )
    found = waves_of(Strategy(name="s", waves=waves), fleet)
    assert found[0] == {"d3", "d7"}
    assert len(found[1] | found[0]) in (3, 4, 5)
    assert {"d1", "d5", "d9", "d11"} <= found[0] | found[1] | found[2]
    assert {"d0", "d2"} <= set().union(*(found[wave] for wave in range(4)))
    assert sum(map(len, found.values())) == 12


def test_each_stratum_can_have_its_own_wave() -> None:
    fleet = [*targets(["a1", "a2"], "arm"), *targets(["x1", "x2"], "x86")]
    strategy = Strategy(name="s", waves=(Wave(each_stratum=True, soak_s=5.0), Wave(percent=100)))
    assert waves_of(strategy, fleet) == {0: {"a1", "a2"}, 1: {"x1", "x2"}}
    assert [wave.soak_s for wave in expand(strategy, fleet).waves] == [5.0, 5.0, 0.0]


def test_no_more_devices_are_in_progress_than_the_cap() -> None:
    made = rollout(replace(STRATEGY, max_concurrent=3))
    assert due(made, ["a", "b", "c", "d"], told=0, under_way=1, now=0.0) == ["a", "b"]
    assert due(made, ["a"], told=0, under_way=3, now=0.0) == []


def test_the_cap_counts_devices_of_every_wave() -> None:
    made = rollout(replace(STRATEGY, max_concurrent=1, waves=(Wave(percent=100),)))
    world = {member.device: fact(member.device) for member in made.members}
    (first,) = decide(made, world, Rows(), 0.0).offers
    world[first.device] = fact(first.device, assigned=2)
    assert decide(made, world, Rows(), 1.0).offers == ()


def test_the_rate_starts_low_and_grows() -> None:
    made = rollout(replace(STRATEGY, per_minute=2.0, growth_per_minute=2.0))
    untold = [f"d{n}" for n in range(100)]
    counts = [len(due(made, untold, told=0, under_way=0, now=60.0 * minute)) for minute in range(5)]
    assert counts == [1, 3, 9, 21, 44]
    assert len(due(made, untold, told=9, under_way=0, now=120.0)) == 0
    assert [allowed(30.0, 1.0, minute * 60.0) for minute in range(3)] == [1, 31, 61]


def test_jitter_spreads_a_wave_by_each_devices_own_hash() -> None:
    made = rollout(replace(STRATEGY, jitter_s=100.0))
    untold = [f"d{n}" for n in range(200)]
    seen = [set(due(made, untold, told=0, under_way=0, now=float(now))) for now in (0, 50, 100)]
    assert len(seen[0]) < 5
    assert 70 < len(seen[1]) < 130
    assert seen[0] <= seen[1] <= seen[2] == set(untold)


def hardware(**changes: Any) -> Hardware:
    known = {
        "machine": "sim",
        "cpus": 4,
        "memory_mb": 3900,
        "python": "3.11",
        "onnxruntime": "1.22.0",
        "agent": "0.1.0",
    }
    return Hardware(**known | changes)


def twin(name: str = "d", *, stable: bool = True, pinned: dict[str, int] | None = None, **changes: Any) -> Twin:
    state = ModelState(model="m", phase="steady", generation=1, stable=REFS[1] if stable else None, stable_proven=True)
    beat = Heartbeat(
        protocol=1,
        device=name,
        boot=1,
        seq=1,
        uptime_s=1,
        hardware=hardware(**changes),
        labels={"site": "north"},
        models=(state,),
        pinned=pinned or {},
    )
    return fold_heartbeat(Twin(name), beat, 0.0)


MODEL = make_model(2, "good")
MANIFEST = MODEL.manifest


@pytest.mark.parametrize(
    ("changes", "policy", "quarantined", "said"),
    [
        ({}, {}, {}, ""),
        ({"machine": "mips"}, {}, {}, "mips: released for sim"),
        ({"memory_mb": 100}, {}, {}, "100 MB of memory"),
        ({"onnxruntime": "1.13.1"}, {}, {}, "needs 1.14"),
        ({"onnxruntime": "nightly"}, {}, {}, ""),
        ({"sandbox": "landlock"}, {"require_sandbox": True}, {}, "sandbox landlock"),
        ({"pinned": {"m": 1}}, {}, {}, "pinned at v1"),
        ({"stable": False}, {"mode": "shadow"}, {}, "no version serves"),
        ({}, {}, {MANIFEST.artifact.sha256: "r-0"}, "quarantined: it failed there in r-0"),
    ],
)
def test_a_device_that_cannot_run_a_version_is_excluded_before_a_byte_is_sent(
    changes: dict[str, Any], policy: dict[str, Any], quarantined: dict[str, str], said: str
) -> None:
    reason = why_unfit(twin(**changes), "m", forms_of(MANIFEST)[0], TrialPolicy(**policy), quarantined)
    assert said in (reason.words if reason is not None else "")
    assert (reason is not None) == bool(said)


def test_kinds_of_devices_are_distinguished_by_the_labels_that_the_strategy_names() -> None:
    assert stratum_of(twin(), ("machine", "memory")) == "sim/4096MB"
    assert stratum_of(twin(memory_mb=480), ("memory",)) == "512MB"
    assert stratum_of(twin(), ("site", "cpus", "runtime")) == "north/4-cpus/onnxruntime-1.22.0"
    assert stratum_of(Twin("new"), ("machine",)) == "unknown"


def world(*twins: Twin) -> World:
    return World(silent_s=90.0, durable=Durable({each.device: each for each in twins}))


def planned(made: World, strategy: Strategy = STRATEGY) -> Any:
    return plan_rollout(made, MANIFEST, strategy, name="r", model="m", selector={}, now=0.0)


def test_a_preview_equals_the_run_and_leaves_no_trace() -> None:
    made = world(*(twin(f"d{n}") for n in range(9)), twin("small", memory_mb=64))
    before = dict(made.durable.twins)
    plan = planned(made)
    seen = preview(made, plan, 0.0)
    assert (made.durable.twins, made.durable.rollouts) == (before, {})
    assert seen.plan_digest == planned(made).plan_digest
    assert [wave.devices for wave in seen.waves] == [2, 7]
    assert list(seen.excluded) == ["small"]
    assert seen.bytes_to_send == 9 * (MANIFEST.artifact.length + MANIFEST.golden.blob.length)
    assert seen.finish_s == 2 * 300.0 + 10.0
    assert seen.power == ("failed_ratio: 2 devices: fails from 1 failed device on",)
    assert (seen.no_way_back, seen.unproven) == ({}, ())


def test_a_preview_says_what_the_samples_can_detect() -> None:
    strategy = replace(STRATEGY, rules=(Rule(metric="accuracy_drop", threshold=0.01, min_samples=100),))
    made = world(*(twin(f"d{n}") for n in range(9)))
    (said,) = preview(made, planned(made, strategy), 0.0).power
    assert said == "accuracy_drop: no labels have come from these devices so far, 100 needed: it cannot say anything"


def test_a_preview_names_a_rule_that_the_answers_of_the_release_do_not_allow() -> None:
    rules = tuple(
        Rule(metric=metric, threshold=0.01, min_samples=100) for metric in ("accuracy_drop", "error_increase")
    )
    made = world(*(twin(f"d{n}") for n in range(9)))
    plan = planned(made, replace(STRATEGY, rules=rules))
    _, error = preview(made, plan, 0.0, task="classification").power
    assert error == "error_increase: only for regressions: it is not judged here"
    accuracy, _ = preview(made, plan, 0.0, task="regression").power
    assert accuracy == "accuracy_drop: only for classifiers: it is not judged here"


def test_a_fleet_on_which_no_device_can_run_the_version_is_an_error_with_the_reason() -> None:
    with pytest.raises(BadInput) as caught:
        planned(world(twin(machine="mips")))
    assert (caught.value.code, "mips" in caught.value.detail) == (Code.NOTHING_FITS, True)


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_the_shipped_strategy_files_equal_those_of_the_code(name: str) -> None:
    assert resolve_strategy(tomllib.loads((CONFIGS / f"{name}.toml").read_text())) == STRATEGIES[name]
    check_strategy(STRATEGIES[name])


def test_every_strategy_file_has_its_code() -> None:
    assert sorted(path.stem for path in CONFIGS.glob("*.toml")) == sorted(STRATEGIES)


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
def test_an_invalid_strategy_is_refused_with_the_field(fields: Any, said: str) -> None:
    with pytest.raises(BadInput) as caught:
        resolve_strategy(fields)
    assert caught.value.code == Code.STRATEGY_INVALID
    assert said in caught.value.detail


ALL = Wave(percent=100)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"waves": (Wave(percent=50),)}, "the last wave must be percent = 100"),
        ({"waves": (Wave(percent=50), Wave(percent=20), ALL)}, "percents must rise"),
        ({"waves": (Wave(percent=20), Wave(percent=20), ALL)}, "percents must rise"),
        ({"waves": (Wave(percent=20, count=3), ALL)}, "waves[0]: name one of"),
        ({"waves": (Wave(), ALL)}, "waves[0]: name one of"),
        ({"waves": (Wave(percent=20), Wave(count=9, mode="shadow"), ALL)}, "a shadow wave comes before"),
        ({"waves": (Wave(percent=100, mode="shadow"),)}, "the last wave"),
        ({"rules": (Rule(metric="failed_ratio", threshold=0.0, on_fail="roll_back_stratum"),)}, "needs scope"),
        ({"rules": (Rule(metric="agreement", threshold=0.9),)}, "nothing is compared"),
        ({"trial": TrialPolicy(maintenance=("02:00-02:00",))}, "it never opens"),
        ({"trial": TrialPolicy(maintenance=("noon",))}, 'write "mon-fri'),
    ],
)
def test_a_strategy_that_no_fleet_could_complete_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput) as caught:
        check_strategy(replace(STRATEGY, **changes))
    assert said in caught.value.detail


def test_a_rule_that_could_never_pass_is_refused_with_the_smallest_wave_that_could() -> None:
    strategy = replace(STRATEGY, rules=(Rule(metric="failed_ratio", threshold=0.1, min_samples=20),))
    with pytest.raises(BadInput) as caught:
        check_power(strategy, rollout(strategy).members)
    assert "needs 20 decided devices and the first wave has 1" in caught.value.detail
    assert "Make the first wave 20 devices or more, or min_samples 1 or less" in caught.value.detail
    check_power(strategy, rollout(strategy, among=targets([f"d{n}" for n in range(100)])).members)


def test_a_rule_that_could_never_trip_is_refused() -> None:
    strategy = replace(STRATEGY, rules=(Rule(metric="failed_ratio", threshold=1.0),))
    with pytest.raises(BadInput) as caught:
        check_power(strategy, rollout(strategy).members)
    assert "it can never fail" in caught.value.detail


def test_a_rule_for_each_stratum_is_measured_by_the_smallest() -> None:
    fleet = [*targets(["a1", "a2"], "arm"), *targets([f"x{n}" for n in range(98)], "x86")]
    strategy = replace(
        STRATEGY, waves=(Wave(percent=10), ALL), rules=(Rule(metric="failed_ratio", threshold=0.5, min_samples=2),)
    )
    check_power(strategy, rollout(strategy, among=fleet).members)
    each = replace(strategy, rules=(replace(strategy.rules[0], scope="stratum"),))
    with pytest.raises(BadInput) as caught:
        check_power(each, rollout(each, among=fleet).members)
    assert "has 1 of its smallest stratum" in caught.value.detail
