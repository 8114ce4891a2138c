"""How a rollout ended for each device is kept, whatever the device does afterwards; its reason names devices."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from contract.messages import ModelState, Report, VersionRef
from controller.api.rollout_views import rollout_summary, rollout_view
from controller.config import Config, StorageConfig
from controller.rollout.decide import decide
from controller.rollout.endings import Ending, named, named_failures, shown
from controller.rollout.explain import explain
from controller.rollout.facts import DeviceFact
from controller.rollout.model import Rollout
from controller.rollout.rows import Rows
from controller.state import State, open_state
from controller.verbs import rollouts, steering
from tests.controller.heard import hear
from tests.controller.rollout_worlds import CANARY, DEVICES, broken, done, fact, facts, rollout
from tests.controller.test_api import call, fail_on, meet, push

pytestmark = pytest.mark.usefixtures("conversions_kept")


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    made = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path))))
    yield made
    made.close()


def ended(made: Rollout, world: dict[str, DeviceFact], known: dict[str, Ending] | None = None, now: float = 1.0) -> Any:
    kept = known or {}
    return {**kept, **decide(made, world, Rows(), now, kept).endings}


def test_a_failed_device_keeps_its_code_and_detail_in_its_rollout_after_it_has_moved_on(state: State) -> None:
    push(state)
    push(state)
    meet(state, "a", "b")
    view = fail_on(state, "a")
    rolled = state.world.durable.rollouts[view["id"]]
    meet(state)
    call(state, "POST", f"/v1/rollouts/{view['id']}/explain")
    state.save_rollouts(replace(state.world.durable.rollouts[rolled.id], status="rolled_back"))
    call(state, "POST", "/v1/devices/unquarantine", json={"devices": ["a"]})
    rollouts.start(state, "m", 2, rollouts.resolve_strategy("all_at_once"), {}, again=True, actor="ada")
    meet(state)
    told = state.world.durable.twins["a"].desired["m"]
    new = VersionRef(release=2, digest=told.digest)
    steady = ModelState(model="m", phase="steady", generation=told.generation, stable=new, serving=new.digest)
    hear(state, Report(protocol=1, device="a", boot=1, seq=9, state=steady))
    members = {each["device"]: each for each in call(state, "GET", f"/v1/rollouts/{view['id']}")[1]["members"]}
    assert (members["a"]["outcome"], members["a"]["code"], members["a"]["detail"]) == (
        "failed", "health_accuracy", "accuracy 0.5",
    )  # fmt: skip
    again = open_state(state.config)
    kept = {
        each.device: each for each in rollout_view(again.world.durable.rollouts[view["id"]], again.world, 0.0).members
    }
    assert (kept["a"].outcome, kept["a"].code) == ("failed", "health_accuracy"), "also over a restart"
    assert rollout_summary(again.world.durable.rollouts[view["id"]], again.world, 0.0).counts["failed"] == 1
    again.close()


def test_the_outcome_of_a_device_is_stored_once_it_is_decided_and_not_while_it_is_pending() -> None:
    made = rollout(wave=1, wave_began_at=0.0)
    world = facts(
        d0=done("d0"),
        d1=broken("d1"),
        d2=fact("d2", assigned=2, generation=6, presence="silent", offered_at=-999.0),
        d3=fact("d3", assigned=2, generation=6, presence="offline", offered_at=-999.0),
        d4=fact("d4", assigned=2, generation=6),
    )
    assert ended(made, world) == {
        "d0": Ending(outcome="succeeded"),
        "d1": Ending(outcome="failed", code="health_accuracy"),
        "d2": Ending(outcome="silent", detail="it was told, and nothing was heard of it in time"),
        "d3": Ending(outcome="absent"),
    }


def test_a_device_past_its_deadline_is_stored_with_its_last_phase() -> None:
    made = rollout(wave=1)
    world = facts(d1=fact("d1", assigned=2, offered_at=-300.0))
    assert ended(made, world)["d1"] == Ending(outcome="failed", detail="undecided after 200 s, in phase steady")


def test_a_later_outcome_replaces_an_earlier_one_while_the_rollout_runs() -> None:
    made = rollout(wave=1)
    known = {"d1": Ending(outcome="silent", detail="x")}
    assert ended(made, facts(d1=done("d1")), known)["d1"] == Ending(outcome="succeeded")
    known = {"d1": Ending(outcome="succeeded")}
    gone = fact("d1", assigned=2, stable=1, result="confirmed")
    assert ended(made, facts(d1=gone), known)["d1"] == Ending(outcome="regressed", detail="it runs v1 now")


def test_in_a_roll_back_a_failure_stays_a_failure_and_other_devices_were_sent_back() -> None:
    made = rollout(wave=1, status="rolling_back", reason="why")
    world = facts(d0=fact("d0", assigned=1), d1=fact("d1", assigned=1), d2=fact("d2", assigned=1))
    world["d3"] = DeviceFact("d3", "online", None, None)
    known = {"d0": Ending(outcome="failed", code="c"), "d1": Ending(outcome="succeeded")}
    found = ended(made, world, known)
    assert found["d0"] == Ending(outcome="failed", code="c")
    assert found["d1"] == Ending(outcome="sent_back", detail="why")
    assert found["d2"] == Ending(outcome="sent_back", detail="why"), "it was told, and had not decided"
    assert "d3" not in found, "it was never told"


def test_in_an_abort_confirmed_devices_keep_the_release() -> None:
    made = rollout(wave=1, status="aborting")
    found = ended(made, facts(d0=done("d0"), d1=fact("d1", assigned=2)), {"d0": Ending(outcome="succeeded")})
    assert (found["d0"].outcome, found["d1"].outcome) == ("succeeded", "sent_back")


def test_the_reason_of_a_stopped_stratum_stays_with_its_failed_devices() -> None:
    made = rollout(wave=1, stopped_waves=(0,), status="paused", reason="why")
    known = {CANARY: Ending(outcome="failed", code="health_accuracy")}
    assert ended(made, facts(**{CANARY: broken(CANARY)}), known)[CANARY].code == "health_accuracy"


def test_an_ended_rollout_shows_outcomes_and_not_the_current_state_of_devices() -> None:
    over = rollout(status="rolled_back")
    assert shown(over, "pending", Ending(outcome="failed")) == "failed"
    assert shown(over, "pending", None) == "waiting"
    going_on = rollout(status="running")
    assert shown(going_on, "pending", Ending(outcome="absent")) == "pending"


def test_the_reason_of_a_tripped_rule_names_three_devices_with_their_codes_and_counts_the_rest() -> None:
    made = rollout(wave=1)
    world = {device: broken(device) for device in DEVICES}
    reason = decide(made, world, Rows(), 1.0).rollout.reason
    first = [member.device for member in made.members][:3]
    assert reason.endswith("; failed: " + ", ".join(f"{device} (health_accuracy)" for device in first) + " and 2 more")


def test_failures_from_before_a_resume_are_not_named_again() -> None:
    made = rollout(wave=1, acknowledged=("d1",))
    endings = {"d1": Ending(outcome="failed", code="old"), "d2": Ending(outcome="silent")}
    assert named_failures(made, endings) == "d2 (silent)"
    assert named_failures(made, endings, "another kind") == ""
    assert named(["a", "b", "c"]) == "a, b, c"


def test_explain_shows_the_outcomes_and_names_up_to_three_failed_devices() -> None:
    over = rollout(status="rolled_back", reason="why")
    endings = {device: Ending(outcome="failed", code="probe_mismatch", detail="row 3") for device in DEVICES[:4]} | {
        DEVICES[4]: Ending(outcome="sent_back")
    }
    said = explain(over, facts(), (), 1.0, endings)
    assert said[2] == "Of 5 devices: 4 failed, 1 sent back."
    first = next(member.device for member in over.members if member.device in DEVICES[:4])
    assert said[3] == f"{first} failed: probe_mismatch row 3."
    assert "1 more have failed." in said


def test_the_story_of_a_manual_roll_back_names_the_failed_devices(state: State) -> None:
    push(state)
    meet(state, "a", "b")
    began = rollouts.start(state, "m", 1, rollouts.resolve_strategy("all_at_once"), {}, actor="ada")
    members = tuple(replace(each, previous_release=1) for each in began.members)
    state.save_rollouts(replace(began, members=members, began_at=time.time()))
    state.world.durable.endings[began.id] = {"a": Ending(outcome="failed", code="probe_mismatch")}
    after = steering.steer(state, began.id, "rollback", actor="bob")
    assert after.reason == "rollback by bob; failed: a (probe_mismatch)"
