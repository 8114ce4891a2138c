"""Edges of a rollout's plan and of the sentences that explain it."""

from typing import Any

from msgspec.structs import replace

from contract.messages import VersionRef
from controller.fleet.exclusion import Exclusion
from controller.rollout.decide import Offer, decide
from controller.rollout.explain import explain
from controller.rollout.model import Member, Rollout, Rule, Wave
from controller.rollout.plan import Target, expand, join, member_of, plan_members, rank, unit_hash
from controller.rollout.rows import Rows
from controller.rollout.verdict import RuleVerdict
from tests.controller.rollout_worlds import (
    CANARY,
    DEVICES,
    REFS,
    STRATEGY,
    done,
    fact,
    facts,
    rollout,
    targets,
)

# Plans.


def test_the_order_of_devices_differs_by_rollout() -> None:
    assert rank("a", "d0") != rank("b", "d0")
    assert 0.0 <= unit_hash("a", "d0") < 1.0
    assert unit_hash("a", "d0") != unit_hash("b", "d0")


def planned(*waves: Wave, among: list[Target]) -> dict[str, int]:
    strategy = replace(STRATEGY, waves=waves)
    return {member.device: member.wave for member in plan_members("r", among, expand(strategy, among), {})}


def test_percents_of_each_stratum_are_rounded_up() -> None:
    fleet = [*targets([f"a{n}" for n in range(10)], "arm"), *targets([f"x{n}" for n in range(11)], "x86")]
    waves = planned(Wave(percent=10), Wave(percent=100), among=fleet)
    first = sorted(name[0] for name, wave in waves.items() if wave == 0)
    assert first == ["a", "x", "x"]


def test_an_empty_wave_takes_the_next_device_unless_it_follows_a_shadow() -> None:
    fleet = targets(["a", "b", "c"])
    shadowed = planned(Wave(percent=34, mode="shadow"), Wave(percent=34), Wave(percent=100), among=fleet)
    assert sorted(shadowed.values()) == [0, 0, 2]
    named = planned(Wave(devices=("nobody",)), Wave(percent=100), among=fleet)
    assert sorted(named.values()) == [0, 1, 1]
    assert planned(Wave(percent=100), Wave(percent=100), among=fleet) == {"a": 0, "b": 0, "c": 0}
    assert planned(Wave(percent=50), among=[]) == {}


def test_waves_are_chosen_by_count_names_stratum_and_labels() -> None:
    fleet = [Target(f"d{n}", "arm" if n % 2 else "x86", {"site": "n"} if n < 2 else {"site": "s"}) for n in range(6)]
    last = Wave(percent=100)
    order = sorted(fleet, key=lambda target: rank("r", target.device))
    first = {name for name, wave in planned(Wave(count=2), last, among=fleet).items() if wave == 0}
    assert first == {target.device for target in order[:2]}
    for wave, expected in (
        (Wave(devices=("d3", "d4")), {"d3", "d4"}),
        (Wave(stratum="arm"), {"d1", "d3", "d5"}),
        (Wave(selector={"site": "n"}), {"d0", "d1"}),
    ):
        assert {name for name, number in planned(wave, last, among=fleet).items() if number == 0} == expected


def test_a_member_stores_its_earlier_confirmed_version() -> None:
    before = {"a": VersionRef(release=7, digest="7" * 64)}
    assert member_of(Target("a", "arm", digest="f" * 64), 3, before) == Member(
        device="a", wave=3, stratum="arm", digest="f" * 64, previous_release=7, previous_digest="7" * 64
    )
    assert member_of(Target("b"), 0, before, late=True) == Member(device="b", wave=0, late=True)


def test_joining_adds_members_at_the_end_and_reasons_for_the_others() -> None:
    old, pinned = Exclusion("unknown", "old"), Exclusion("pinned", "pinned at v1")
    made = rollout(excluded={"x": old})
    assert join(made, [], {}, {}) is made
    grown = join(made, [Target("y")], {"z": pinned}, {})
    assert grown.excluded == {"x": old, "z": pinned}
    assert grown.members == (*made.members, Member(device="y", wave=1, late=True))
    assert join(made, [], {"z": pinned}, {}).members == made.members


def test_the_last_wave_is_the_wave_that_ends_a_rollout() -> None:
    assert (rollout().last_wave, rollout().final_wave) == (1, 1)
    lone = rollout(replace(STRATEGY, waves=(Wave(percent=50), Wave(percent=100))), among=targets(["d0"]))
    assert (lone.last_wave, lone.final_wave) == (0, 0)
    shadow = (Wave(percent=50, mode="shadow"), Wave(percent=50), Wave(percent=100))
    assert rollout(replace(STRATEGY, waves=shadow), among=targets(["d0"])).final_wave == 1
    assert rollout(members=()).last_wave == 0
    assert sorted(rollout().devices_up_to(1)) == DEVICES
    assert rollout().devices_up_to(0) == [CANARY]


# Explanations.


def said(made: Rollout, now: float = 3.0, verdicts: tuple[RuleVerdict, ...] = (), **special: Any) -> list[str]:
    return explain(made, facts(**special), verdicts, now)


def test_each_status_has_its_sentence() -> None:
    first = "r-1 brings m v2 by s."
    ended = said(rollout(status="aborted", reason="asked by anna"))
    assert ended == [first, "It was aborted; what had confirmed the release keeps it, because asked by anna."]
    for status in ("completed", "aborted", "rolled_back", "aborting", "rolling_back"):
        name, sentence = said(rollout(status=status))
        assert name == first
        assert "because" not in sentence
        assert sentence.endswith(("again.", "It has completed.", "keeps it.", "sent back.", "confirmed release."))
    assert said(rollout(status="paused"))[1] == "It is paused: resume, abort or roll it back."
    (proposed,) = said(rollout(status="proposed", created_by="anna"))
    assert proposed.endswith(f"approve plan {rollout().plan_digest[:12]}.")
    assert said(rollout(status="paused", reason="x"))[1] == "It is paused, because x: resume, abort or roll it back."
    assert said(rollout(reason="failed_ratio on arm"))[1] == "failed_ratio on arm."


def test_the_sentence_on_a_wave_names_what_it_waits_for() -> None:
    turn = "Wave 1 of 2, 1 of 5 devices have had their turn: 1 succeeded."
    ready = {CANARY: done(CANARY)}
    assert said(rollout(), **ready)[1:] == [turn, "The next pass goes on."]
    trial = replace(fact(CANARY, assigned=2).state, phase="trial", trial=REFS[2], detail="0 of 20 inferences")
    tried = {CANARY: replace(fact(CANARY, assigned=2), state=trial)}
    assert said(rollout(), **tried)[2] == (
        f"It waits for devices that have not decided: {CANARY} (trial: 0 of 20 inferences)."
    )
    quiet = explain(rollout(), facts(**tried), (), 3.0, quiet={CANARY: 60.0})[2]
    assert quiet.endswith(
        f"Nobody asked {CANARY} for m in the last 60 s: each needs 30 inferences to decide, "
        "from a sensor or an application."
    ), "a trial that nobody asks can wait for a day: it is said at once"
    assert said(rollout(wave_done_at=0.0), **ready)[1:] == [turn, "It soaks for 7 s more."]
    assert said(rollout(wave_done_at=0.0), 10.0, **ready)[1:] == [turn, "The next pass goes on."]
    held = replace(STRATEGY, waves=(Wave(percent=20, hold=True), Wave(percent=100)))
    waits = "It waits for `edgeward rollout promote r-1`."
    assert said(rollout(held, wave_done_at=0.0), **ready)[2:] == [waits]
    assert said(rollout(held, wave_done_at=0.0, promoted=0), **ready)[2:] == ["The next pass goes on."]


def test_the_names_of_rules_are_listed() -> None:
    verdicts = (
        RuleVerdict("error_ratio", "pass", "a"),
        RuleVerdict("accuracy_drop", "inconclusive", "b", "arm"),
        RuleVerdict("failed_ratio", "fail", "c"),
    )
    waiting = "Rule accuracy_drop on arm cannot say yet: b."
    failing = "Rule failed_ratio has failed: c."
    assert said(rollout(wave_done_at=0.0), 10.0, verdicts)[2:] == [waiting, failing]
    assert said(rollout(status="paused"), 10.0, verdicts)[3:] == [failing]


def test_a_rule_whose_count_cannot_grow_any_more_says_so_and_what_ends_that() -> None:
    strategy = replace(STRATEGY, rules=(Rule(metric="accuracy_drop", threshold=0.1, min_samples=100),))
    made, waits = rollout(strategy, wave=1, wave_done_at=0.0), RuleVerdict("accuracy_drop", "inconclusive", "98 of 100")
    everywhere = {device: done(device) for device in DEVICES}
    advice = "`edgeward rollout promote r-1` or `edgeward rollout abort r-1` ends that."
    left = "The count of accuracy_drop cannot grow: no device without v2 is left to compare with."
    assert said(made, 10.0, (waits,), **everywhere)[-1] == f"{left} {advice}"
    retired = {"d0": replace(fact("d0"), retired=True)}
    assert said(made, 10.0, (waits,), **everywhere | retired)[-1] == f"{left} {advice}"
    pinned = {"d0": replace(fact("d0"), pinned_at=1)}
    assert "cannot grow" not in said(made, 10.0, (waits,), **everywhere | pinned)[-1], "it is still compared with"
    gone = {device: replace(fact(device), retired=True) for device in DEVICES if device != "d0"}
    assert "no device has v2 any more" in said(made, 10.0, (waits,), **gone | pinned)[-1]


def test_only_the_first_wave_names_devices_without_a_proven_way_back() -> None:
    unsure = {device: fact(device, proven=False) for device in DEVICES} | {CANARY: done(CANARY)}
    sentence = said(rollout(wave_done_at=0.0), 10.0, **unsure)[-1]
    assert sentence.startswith("4 devices have not shown that the way back is whole: ")
    assert said(rollout(wave=1, wave_done_at=0.0), 10.0, **unsure)[-1] == "The next pass goes on."
    relaxed = replace(STRATEGY, preflight=False)
    assert said(rollout(relaxed, wave_done_at=0.0), 10.0, **unsure)[-1] == "The next pass goes on."


def test_at_most_five_devices_are_named() -> None:
    many = [f"d{number}" for number in range(9)]
    made = rollout(among=targets(many), wave_done_at=0.0)
    first = {member.device: done(member.device) for member in made.members if member.wave == 0}
    world = {device: fact(device, proven=False) for device in many} | first
    sentence = explain(made, world, (), 10.0)[-1]
    assert sentence.startswith("7 devices have not shown")
    assert len(sentence.partition("whole: ")[2].split(", ")) == 5


def test_the_first_release_is_offered_to_devices_without_an_assignment() -> None:
    world = {device: fact(device, assigned=None, stable=None) for device in DEVICES}
    assert decide(rollout(release=1), world, Rows(), 0.0).offers == (Offer(CANARY, "m", 1),)
    assert decide(rollout(release=1, status="rolling_back"), world, Rows(), 0.0).offers == ()
