"""A retry does not wait for devices that are away: a way back that only they hold open ends, as for a new rollout."""

import time

import pytest
from msgspec.structs import replace

from contract.errors import BadInput
from controller.rollout.endings import Ending
from controller.rollout.model import Rollout
from controller.state import State
from controller.verbs.retries import retry_failed
from controller.verbs.steering import steer
from tests.controller.test_pins import said, start, state, step  # noqa: F401  # `state` is a fixture: a and b run v1


def failed_on_a(state: State) -> Rollout:  # noqa: F811
    """A rollout that failed on a and is rolled back, while b, which had confirmed the release, is away."""
    started = start(state)
    step(state)
    said(state, "b", 2, seq=2, generation=2**40)
    state.world.durable.endings[started.id] = {"a": Ending("failed", "golden_mismatch")}
    state.save_rollouts(replace(state.world.durable.rollouts[started.id], status="rolling_back", wave=0))
    step(state)
    twin = state.world.durable.twins["b"]
    assert twin.desired["m"].release == 1, "b was told to go back"
    state.world.durable.twins["b"] = replace(twin, connected=False)
    returning = replace(state.world.durable.rollouts[started.id], status="rolling_back", returning_since=time.time())
    state.save_rollouts(returning)
    return returning


def test_a_way_back_that_only_absent_devices_hold_open_ends_for_a_retry(state: State) -> None:  # noqa: F811
    before = failed_on_a(state)
    again = retry_failed(state, before.id, actor="ada")
    assert [each.device for each in again.members] == ["a"]
    assert (again.retry_of, state.world.durable.rollouts[before.id].status) == (before.id, "rolled_back")
    step(state)
    assert state.world.durable.twins["b"].desired["m"].release == 1, "its way back stays for its return"


def test_a_device_that_is_there_still_holds_a_way_back_open(state: State) -> None:  # noqa: F811
    before = failed_on_a(state)
    state.world.durable.twins["b"] = replace(state.world.durable.twins["b"], connected=True)
    with pytest.raises(BadInput, match="rolling_back: wait until it has ended; what"):
        retry_failed(state, before.id, actor="ada")


def test_an_ended_rollout_says_why_nothing_is_tried_again_and_what_can_be_done_instead(state: State) -> None:  # noqa: F811
    started = start(state)
    state.save_rollouts(replace(started, status="completed"))
    with pytest.raises(BadInput, match=f"no device of {started.id} has failed: there is nothing to try again"):
        retry_failed(state, started.id, actor="ada")
    with pytest.raises(BadInput, match=f"cannot be aborted; it has ended; `edgeward rollout rollback {started.id}`"):
        steer(state, started.id, "abort", actor="ada")


def test_a_rollout_that_waits_only_for_absent_devices_says_how_to_end_it(state: State) -> None:  # noqa: F811
    started = start(state)
    step(state)
    for device in ("a", "b"):
        state.world.durable.twins[device] = replace(state.world.durable.twins[device], connected=False)
    words = (
        f"waits only for 2 devices that cannot be reached: [ab], [ab]; `edgeward rollout abort {started.id}` ends it"
    )
    with pytest.raises(BadInput, match=words):
        retry_failed(state, started.id, actor="ada")
