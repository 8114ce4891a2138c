"""promote ends a wave or says why not; rolled-back versions need an option to start again; versions are withdrawn."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from contract.messages import ModelState, Report, VersionRef
from controller.config import Config, StorageConfig
from controller.reconcile.membership import is_standing
from controller.rollout.decide import decide
from controller.rollout.promote import promoted, why_not_promoted
from controller.rollout.rows import Rows
from controller.state import State, open_state
from controller.verbs import policies
from controller.verbs.changes import recent_changes
from tests.controller.heard import hear
from tests.controller.rollout_worlds import CANARY, DEVICES, done, fact, facts, rollout
from tests.controller.test_api import call, fail_on, meet, push

pytestmark = pytest.mark.usefixtures("conversions_kept")


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    made = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path))))
    yield made
    made.close()


def test_promote_ends_a_wave_that_waits_for_a_silent_device(state: State) -> None:
    push(state)
    meet(state, "a", "b")
    _, view = call(state, "POST", "/v1/rollouts", json={"model": "m"})
    hear(state)
    assert view["wave"] == 0
    status, refused = call(state, "POST", f"/v1/rollouts/{view['id']}/promote")
    assert (status, refused["code"]) == (409, "rollout_conflict")
    assert refused["detail"].endswith(
        "no device of it has decided yet; to end it all the same, name it: edgeward rollout promote --wave 1"
    )
    _, after = call(state, "POST", f"/v1/rollouts/{view['id']}/promote", json={"wave": 0})
    assert (after["status"], after["wave"]) == ("running", 1), (
        "at once: not with the canary's word, which may never come"
    )
    hear(state)
    assert {twin.desired["m"].release for twin in state.world.durable.twins.values()} == {1}
    last = state.journal.audit_entries(1)[0]
    assert (last["action"], last["detail"]) == ("rollout promote", "m v1: wave 1 has ended, wave 2 of 2 begins")


def test_promote_names_the_devices_that_the_last_wave_waits_for(state: State) -> None:
    push(state)
    meet(state, "a", "b")
    _, view = call(state, "POST", "/v1/rollouts", json={"model": "m"})
    path = f"/v1/rollouts/{view['id']}"
    hear(state)
    call(state, "POST", f"{path}/promote", json={"wave": 0})
    status, refused = call(state, "POST", f"{path}/promote", json={"wave": 1})
    assert (status, refused["code"]) == (409, "rollout_conflict")
    assert "it is the last wave" in refused["detail"]
    assert "2 devices have not decided: " in refused["detail"]
    for words in ("a (", "b (", "not offered yet"):
        assert words in refused["detail"]
    hear(state)
    assert "has not begun" in call(state, "POST", f"{path}/promote", json={"wave": 1})[1]["detail"]


def test_promote_names_the_devices_without_a_proven_way_back() -> None:
    made = rollout()
    others = [device for device in DEVICES if device != CANARY]
    unproven = {device: fact(device, proven=False) for device in others} | {CANARY: done(CANARY)}
    words = why_not_promoted(made, unproven, 1.0)
    assert words.startswith("4 devices of later waves must still show since booting that the way back is whole: ")
    assert "and 1 more" in words
    assert why_not_promoted(made, facts(**{CANARY: done(CANARY)}), 1.0) == ""


def test_promote_completes_a_last_wave_before_its_soak_or_rules_end() -> None:
    everywhere = {device: done(device) for device in DEVICES}
    at_last = rollout(wave=1, wave_done_at=0.0)
    assert why_not_promoted(at_last, everywhere, 1.0) == ""
    assert promoted(at_last, 1.0).status == "completed"
    after = promoted(rollout(), 9.0)
    assert (after.wave, after.promoted, after.wave_began_at, after.wave_done_at) == (1, 0, 9.0, None)
    assert decide(after, facts(), Rows(), 9.0).rollout.wave == 1


@pytest.mark.parametrize(
    ("status", "words"), [("paused", "resume"), ("completed", "can still take it back"), ("proposed", "approve")]
)
def test_a_step_that_is_not_possible_names_the_step_to_do_first(state: State, status: Any, words: str) -> None:
    state.save_rollouts(rollout(status=status))
    refused = call(state, "POST", "/v1/rollouts/r-1/promote")[1]
    assert refused["code"] == "rollout_conflict"
    assert words in refused["detail"]


def test_a_rolled_back_version_is_started_again_only_with_an_option(state: State) -> None:
    push(state)
    meet(state, "a", "b")
    view = fail_on(state, "a")
    rolled = state.world.durable.rollouts[view["id"]]
    state.save_rollouts(replace(rolled, status="rolled_back"))
    for path in ("/v1/rollouts", "/v1/rollouts/plan"):
        status, refused = call(state, "POST", path, json={"model": "m"})
        assert (status, refused["code"]) == (409, "version_rolled_back")
        for words in (view["id"], "health_accuracy", "--again"):
            assert words in refused["detail"]
    (shown,) = call(state, "GET", "/v1/models/m/versions")[1]
    assert shown["rolled_back"] == {"rollout": view["id"], "reason": state.world.durable.rollouts[view["id"]].reason}
    status, started = call(state, "POST", "/v1/rollouts", json={"model": "m", "again": True})
    assert (status, started["release"]) == (200, 1)
    state.save_rollouts(replace(state.world.durable.rollouts[started["id"]], status="completed"))
    assert call(state, "POST", "/v1/rollouts", json={"model": "m"})[0] == 200, "the newest rollout of it has completed"
    assert call(state, "GET", "/v1/models/m/versions/1")[1]["rolled_back"] is None


def test_a_rolled_back_version_does_not_prevent_another_version(state: State) -> None:
    push(state)
    meet(state, "a", "b")
    view = fail_on(state, "a")
    state.save_rollouts(replace(state.world.durable.rollouts[view["id"]], status="rolled_back"))
    push(state)
    assert call(state, "POST", "/v1/rollouts", json={"model": "m"})[1]["release"] == 2


def withdraw(state: State, release: int = 1, verb: str = "withdraw") -> tuple[int, Any]:
    body = {"json": {"reason": "it reads the wrong column"}} if verb == "withdraw" else {}
    return call(state, "POST", f"/v1/models/m/versions/{release}/{verb}", **body)


def test_a_withdrawn_version_is_refused_in_every_rollout_with_the_person_and_the_reason(state: State) -> None:
    push(state)
    push(state)
    meet(state, "a")
    assert withdraw(state, 2)[1]["withdrawn"]["reason"] == "it reads the wrong column"
    for path in ("/v1/rollouts", "/v1/rollouts/plan"):
        status, refused = call(state, "POST", path, json={"model": "m", "release": 2, "again": True})
        assert (status, refused["code"]) == (409, "version_withdrawn")
        for words in ("local:ada", "it reads the wrong column", "edgeward version reinstate m 2"):
            assert words in refused["detail"]
    status, refused = call(state, "POST", "/v1/rollouts/plan", json={"model": "m"})
    assert (status, refused["code"]) == (409, "version_withdrawn"), "an older one goes out only if it is named"
    assert "it reads the wrong column" in refused["detail"]
    assert refused["detail"].endswith("; or name another version, for example --version 1")
    assert call(state, "POST", "/v1/rollouts/plan", json={"model": "m", "release": 1})[1]["release"] == 1
    assert call(state, "GET", "/v1/models")[1][0]["newest_passed"] == 1
    again = open_state(state.config)
    assert again.world.withdrawn == {("m", 2): "it reads the wrong column"}
    again.close()
    assert withdraw(state, 2, "reinstate")[1]["withdrawn"] is None
    assert call(state, "POST", "/v1/rollouts/plan", json={"model": "m"})[1]["release"] == 2
    actions = [each["action"] for each in call(state, "GET", "/v1/audit?action=version")[1]]
    assert actions == ["version reinstate", "version withdraw"]


def test_a_start_is_refused_with_a_reason_when_every_version_is_withdrawn(state: State) -> None:
    push(state)
    meet(state, "a")
    withdraw(state)
    assert call(state, "POST", "/v1/rollouts", json={"model": "m"})[1]["code"] == "version_withdrawn"


def test_a_policy_starts_no_withdrawn_and_no_rolled_back_version(state: State) -> None:
    push(state)
    withdraw(state)
    meet(state, "a", "b")
    call(state, "PUT", "/v1/models/m/deployment", json={"strategy": "all_at_once"})
    policies.start_due(state)
    assert state.world.durable.rollouts == {}
    withdraw(state, 1, "reinstate")
    policies.start_due(state)
    assert len(state.world.durable.rollouts) == 1


def test_a_version_that_a_policy_may_not_start_is_reported_once_with_the_reason(state: State) -> None:
    push(state)
    rule = {"metric": "metric_increase", "name": "scrap_rate", "threshold": 0.1}
    strategy = {"name": "s", "waves": [{"percent": 100}], "rules": [rule]}
    assert call(state, "PUT", "/v1/models/m/deployment", json={"strategy": strategy})[0] == 200
    meet(state, "a", "b")
    policies.start_due(state)
    policies.start_due(state)
    told = [each for each in state.journal.audit_entries() if each["action"] == "deployment refused"]
    assert [(each["actor"], each["subject"]) for each in told] == [("controller", "m")]
    (change,) = (each.text for each in recent_changes(state, 1.0) if "could not start" in each.text)
    assert change.startswith("the policy of m could not start a rollout of v1: ")


def test_a_version_in_a_running_rollout_cannot_be_withdrawn(state: State) -> None:
    push(state)
    meet(state, "a", "b")
    _, view = call(state, "POST", "/v1/rollouts", json={"model": "m"})
    status, refused = withdraw(state)
    assert (status, refused["code"]) == (409, "rollout_conflict")
    assert view["id"] in refused["detail"]


def test_devices_with_a_withdrawn_version_are_shown_and_new_devices_do_not_get_it(state: State) -> None:
    push(state)
    meet(state, "a", "b")
    _, view = call(state, "POST", "/v1/rollouts", json={"model": "m", "strategy": "all_at_once"})
    held = VersionRef(release=1, digest=state.registry.version("m", 1).manifest.artifact.sha256)
    steady = ModelState(model="m", phase="steady", generation=1, stable=held, serving=held.digest)
    hear(state, Report(protocol=1, device="a", boot=1, seq=5, state=steady))
    completed = replace(state.world.durable.rollouts[view["id"]], status="completed")
    state.save_rollouts(completed)
    assert is_standing(state.world, completed)
    assert withdraw(state)[1]["devices"] == ["a"]
    devices = {each["device"]: each for each in call(state, "GET", "/v1/devices")[1]["devices"]}
    assert [each["code"] for each in devices["a"]["faults"]] == ["version_withdrawn"]
    assert devices["a"]["faults"][0]["detail"] == "m v1 is withdrawn: it reads the wrong column"
    assert devices["b"]["faults"] == []
    assert not is_standing(state.world, completed)
    meet(state, "newcomer")
    assert state.world.durable.twins["newcomer"].desired == {}


@pytest.mark.parametrize(
    ("release", "verb", "body", "code"),
    [
        (9, "withdraw", {"reason": "r"}, "unknown_version"),
        (1, "withdraw", {"reason": " "}, "request_invalid"),
        (1, "withdraw", {}, "message_malformed"),
        (1, "reinstate", {}, "request_invalid"),
    ],
)
def test_an_invalid_withdrawal_is_refused(
    state: State, release: int, verb: str, body: dict[str, str], code: str
) -> None:
    push(state)
    assert call(state, "POST", f"/v1/models/m/versions/{release}/{verb}", json=body)[1]["code"] == code
