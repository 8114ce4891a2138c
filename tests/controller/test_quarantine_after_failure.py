"""A version is quarantined on a device that rolled it back, even after the end of its rollout."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from contract.errors import BadInput
from contract.messages import Heartbeat, ModelState, Report, UpdateOutcome, VersionRef
from controller.config import Config, StorageConfig
from controller.rollout.endings import Ending
from controller.state import State, open_state
from controller.verbs import rollouts
from tests.controller.heard import hear
from tests.controller.test_api import HARDWARE, call, meet, push


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    made = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path))))
    yield made
    made.close()


def ended(state: State, code: str = "health_accuracy", result: Any = "rolled_back", generation: int = 0) -> ModelState:
    told = generation or state.world.durable.twins["a"].desired["m"].generation
    version = VersionRef(release=1, digest=state.registry.version("m", 1).manifest.artifact.sha256)
    outcome = UpdateOutcome(generation=told, version=version, result=result, code=code, detail="accuracy 0.5")
    return ModelState(model="m", phase="steady", generation=told, outcome=outcome)


def rolled_back_before_it_was_heard(state: State) -> str:
    """Two devices get the offer, an operator rolls the rollout back, and it ends; neither has reported anything yet."""
    push(state)
    meet(state, "a", "b")
    view = call(state, "POST", "/v1/rollouts", json={"model": "m", "strategy": "all_at_once"})[1]
    hear(state)
    name = str(view["id"])
    over = replace(state.world.durable.rollouts[name], status="rolled_back", reason="rollback by ada")
    state.world.durable.endings[name] = {device: Ending(outcome="sent_back", detail="why") for device in ("a", "b")}
    state.save_rollouts(over)
    return name


def excluded(state: State) -> dict[str, str]:
    wanted = {"model": "m", "again": True}
    return dict(call(state, "POST", "/v1/rollouts/plan", json=wanted)[1]["excluded"])


def test_a_version_that_a_device_rolled_back_after_the_rollout_ended_is_quarantined_there(state: State) -> None:
    name = rolled_back_before_it_was_heard(state)
    hear(state, Report(protocol=1, device="a", boot=1, seq=2, state=ended(state)))
    assert excluded(state) == {
        "a": f"quarantined: it failed there in {name}; `edgeward device unquarantine a` lifts that"
    }
    kept = state.world.durable.endings[name]
    assert kept["a"] == Ending(outcome="failed", code="health_accuracy", detail="accuracy 0.5"), "by itself"
    assert kept["b"].outcome == "sent_back"
    said = state.journal.audit_entries(wanted=rollouts.audit.AuditFilter(actor="controller"))
    assert ("device quarantine", "a") in [(each["action"], each["subject"]) for each in said]
    again = open_state(state.config)
    assert again.world.durable.quarantine == state.world.durable.quarantine != {}
    assert again.world.durable.endings[name]["a"].outcome == "failed", "also over a restart"
    again.close()


def test_a_plan_for_devices_that_have_all_rolled_back_the_version_says_so(state: State) -> None:
    rolled_back_before_it_was_heard(state)
    for device in ("a", "b"):
        hear(state, Report(protocol=1, device=device, boot=1, seq=2, state=ended(state)))
    with pytest.raises(BadInput, match=r"none of 2 devices can run it; .: quarantined: it failed there"):
        rollouts.preview(state, "m", 1, rollouts.resolve_strategy("all_at_once"), {}, again=True)


def test_a_heartbeat_reports_a_roll_back_too_and_an_old_one_does_not_restore_a_lifted_quarantine(state: State) -> None:
    rolled_back_before_it_was_heard(state)
    failed = ended(state)
    for seq in (2, 3):
        said = Heartbeat(protocol=1, device="a", boot=1, seq=seq, uptime_s=9, hardware=HARDWARE, models=(failed,))
        hear(state, said)
        assert list(excluded(state)) == (["a"] if seq == 2 else [])
        call(state, "POST", "/v1/devices/unquarantine", json={"devices": ["a"]})


@pytest.mark.parametrize(
    ("code", "result"),
    [
        ("superseded", "rolled_back"),
        ("transfer_stalled", "rejected"),
        ("device_sick", "rolled_back"),
        ("", "confirmed"),
    ],
)
def test_temporary_failures_and_operator_roll_backs_cause_no_quarantine(state: State, code: str, result: str) -> None:
    rolled_back_before_it_was_heard(state)
    hear(state, Report(protocol=1, device="a", boot=1, seq=2, state=ended(state, code, result)))
    assert excluded(state) == {}


def test_a_version_missing_in_the_registry_is_not_quarantined(state: State) -> None:
    meet(state, "a")
    version = VersionRef(release=7, digest="7" * 64)
    outcome = UpdateOutcome(generation=3, version=version, result="rolled_back", code="health_accuracy")
    strange = ModelState(model="m", phase="steady", generation=3, outcome=outcome)
    hear(state, Report(protocol=1, device="a", boot=1, seq=2, state=strange))
    assert not state.world.durable.quarantine.get("a")


def test_a_failure_in_an_unknown_rollout_quarantines_the_version_too(state: State) -> None:
    push(state)
    meet(state, "a", "b")
    hear(state, Report(protocol=1, device="a", boot=1, seq=2, state=ended(state, generation=3)))
    assert "a rollout that is not known here" in excluded(state)["a"]
