"""The five laws, checked on every reachable state against every event (breadth-first search)."""

from decimal import Decimal

import pytest
from msgspec.structs import replace

from agent.core import machine
from agent.core.commands import Load, Save
from agent.core.events import (
    ActivationAllowed,
    ActivationHeld,
    DesiredChanged,
    DesiredRefused,
    DesiredWithdrawn,
    DirectorChanged,
    Event,
    FetchDone,
    FetchFailed,
    HealthJudged,
    ModelBroken,
    ModelReady,
    TimerFired,
)
from agent.core.limits import MAX_FETCH_ATTEMPTS
from agent.core.model import Assignment, Baseline, Fetching, Probing, Ready, Record, State, Steady, Trial, Verdict
from contract.desired import TrialPolicy
from contract.names import unit_number
from firmware_sim.models import make_model

POLICY = TrialPolicy(soak_s=Decimal(10), give_up_s=Decimal(50), boot_budget=2)
NOW = 100.0


def assignment(release: int, generation: int) -> Assignment:
    return Assignment(model="m", generation=generation, manifest=make_model(release, "good").manifest, policy=POLICY)


A1, B2, B3, A4 = assignment(1, 1), assignment(2, 2), assignment(2, 3), assignment(1, 4)
SHADOW2 = Assignment(model="m", generation=2, manifest=B2.manifest, policy=replace(POLICY, mode="shadow"))
"""The version of B2 and B3 beside stable: B3 promotes it."""
DIGESTS = (A1.digest, B2.digest, "0" * 64)

EVENTS: list[Event] = [
    *(DesiredChanged(wanted) for wanted in (A1, B2, B3, A4, SHADOW2)),
    DesiredRefused(B2, "pinned", ""),
    DesiredRefused(A4, "pinned", ""),
    DesiredWithdrawn(2),
    DesiredWithdrawn(5),
    DirectorChanged(),
    TimerFired(),
]
for _digest in DIGESTS:
    EVENTS += [
        FetchDone(_digest),
        FetchFailed(_digest, "transfer_stalled", "", retryable=True),
        FetchFailed(_digest, "disk_full", "", retryable=False),
        ModelReady(_digest),
        ActivationAllowed(_digest, Baseline(labelled=10, correct=9)),
        ActivationHeld(_digest, 5.0, "outside_maintenance", ""),
        ModelBroken(_digest, "probe_failed", ""),
        *(HealthJudged(_digest, verdict, "health_errors") for verdict in Verdict),
    ]


def normal(state: State) -> State:
    """Replaces times by due or not due, because they are only compared with `now`. So the graph is finite."""
    match state:
        case Fetching():
            return replace(state, retry_at=None if state.retry_at is None else min(state.retry_at, NOW))
        case Ready():
            return replace(state, since=NOW, retry_at=None if state.retry_at is None else min(state.retry_at, NOW))
        case Probing():
            return replace(state, give_up_at=NOW if state.give_up_at <= NOW else NOW + 1)
        case Trial():
            soaked = NOW if state.soak_until <= NOW else NOW + 1
            return replace(state, soak_until=soaked, give_up_at=NOW if state.give_up_at <= NOW else NOW + 1)
        case _:
            return state


def variants(state: State) -> list[State]:
    """The state with each of its deadlines passed and not passed."""
    found = [normal(state)]
    if isinstance(state, Trial):
        found += [replace(found[0], soak_until=NOW), replace(found[0], soak_until=NOW, give_up_at=NOW)]
    if isinstance(state, Probing):
        found.append(replace(state, give_up_at=NOW))
    return found


def reachable() -> dict[State, list[tuple[Event, machine.Step]]]:
    graph: dict[State, list[tuple[Event, machine.Step]]] = {}
    todo = variants(machine.resume(Record(), NOW)[0])
    while todo:
        state = todo.pop()
        if state in graph:
            continue
        graph[state] = [(event, machine.step(state, event, NOW)) for event in EVENTS]
        for event, (after, _) in graph[state]:
            if not isinstance(event, DirectorChanged):  # the following states are the same, with other numbers
                todo += variants(after)
        todo += variants(machine.resume(state.record, NOW)[0])
    return graph


@pytest.fixture(scope="module")
def graph() -> dict[State, list[tuple[Event, machine.Step]]]:
    return reachable()


def test_the_search_reaches_every_phase_and_prints_its_size(graph: dict, capsys: pytest.CaptureFixture) -> None:
    with capsys.disabled():
        print(f"\n  five laws: {len(graph)} reachable states x {len(EVENTS)} events = {len(graph) * len(EVENTS)} steps")
    assert {type(state) for state in graph} == {Steady, Fetching, Probing, Ready, Trial}
    assert len(graph) > 100


def test_law_1_an_event_that_does_not_fit_changes_nothing(graph: dict) -> None:
    for state, steps in graph.items():
        for event, (after, commands) in steps:
            foreign = getattr(event, "digest", None) == DIGESTS[2]
            stale = isinstance(
                event, DesiredChanged | DesiredRefused
            ) and event.assignment.generation <= machine.newest_generation(state)
            if foreign or stale:
                assert (after, commands) == (state, ()), (state, event)


def test_law_2_a_changed_record_is_saved_before_anything_else(graph: dict) -> None:
    for state, steps in graph.items():
        for event, (after, commands) in steps:
            saves = [command for command in commands if isinstance(command, Save)]
            if after.record != state.record:
                assert commands[0] == Save(after.record), (state, event)
            assert len(saves) <= 1
            assert saves == [command for command in commands[:1] if isinstance(command, Save)]


def test_law_3_the_saved_record_names_the_version_that_serves_after_a_step(graph: dict) -> None:
    for state, steps in graph.items():
        for event, (after, commands) in steps:
            for command in commands:
                if isinstance(command, Load) and command.assignment is not None:
                    kept = {each.digest for each in (after.record.stable, after.record.trial) if each}
                    assert command.assignment.digest in kept, (state, event)


def test_a_shadow_becomes_stable_only_after_a_serving_trial(graph: dict) -> None:
    promoted = 0
    for state, steps in graph.items():
        trial = state.record.trial
        for event, (after, _) in steps:
            if trial is not None and trial.policy.mode == "shadow" and after.record.trial is None:
                shadowed = after.record.stable is not None and after.record.stable.digest == trial.digest
                assert not shadowed, (state, event)
            promoted += isinstance(event, ActivationAllowed) and trial == SHADOW2 and after.record.trial == B3
    assert promoted


def test_a_shadow_that_has_passed_reports_it_and_waits(graph: dict) -> None:
    passed = [state for state in graph if state.record.outcome and state.record.outcome.result == "shadowed"]
    waiting = [state for state in passed if isinstance(state, Trial) and state.record.trial == SHADOW2]
    assert waiting
    for state in waiting:
        assert machine.deadline(state) is None
        assert machine.step(state, TimerFired(), NOW) == (state, ())
        if state.record.trial_boots < POLICY.boot_budget:
            assert machine.resume(state.record, NOW)[0].record.trial == SHADOW2


def test_a_refusal_by_the_device_itself_is_final_and_does_not_change_the_running_version(graph: dict) -> None:
    for state, steps in graph.items():
        for event, (after, commands) in steps:
            if isinstance(event, DesiredRefused) and commands:
                assert after.record.outcome.result == "rejected"
                assert (after.record.stable, after.record.trial) == (state.record.stable, state.record.trial)
                loaded = [command.assignment for command in commands if isinstance(command, Load)]
                assert set(loaded) <= {state.record.trial}, "a shadow that was to be promoted goes on as one"


def test_law_4_the_generation_never_falls_and_stable_changes_only_by_confirmation(graph: dict) -> None:
    for state, steps in graph.items():
        for event, (after, _) in steps:
            assert after.record.generation >= state.record.generation or isinstance(event, DirectorChanged)
            old, new = state.record.stable, after.record.stable
            if new is not None and (old is None or old.digest != new.digest):
                assert isinstance(state, Trial), (state, event)
                assert state.record.trial is not None
                assert new.digest == state.record.trial.digest
                assert state.soak_until <= NOW


def test_another_director_starts_its_own_numbers_and_does_not_change_the_running_version(graph: dict) -> None:
    for state, steps in graph.items():
        for event, (after, commands) in steps:
            if isinstance(event, DirectorChanged):
                assert machine.newest_generation(after) == 0
                assert replace(after.record, generation=state.record.generation) == state.record
                assert [type(command) for command in commands] == [Save] * (after.record != state.record)


def test_law_5_after_a_reboot_the_soak_starts_again_and_boots_are_counted(graph: dict) -> None:
    for state in graph:
        resumed, commands = machine.resume(state.record, NOW)
        if state.record.trial is None:
            assert isinstance(resumed, Steady)
            assert commands[0] == Load(state.record.stable)
        elif state.record.trial_boots < POLICY.boot_budget:
            assert isinstance(resumed, Trial)
            assert resumed.soak_until == NOW + float(POLICY.soak_s)
            assert resumed.record.trial_boots == state.record.trial_boots + 1
            assert commands[0] == Save(resumed.record)
        else:
            assert resumed.record.trial is None
            assert resumed.record.stable == state.record.stable


def test_every_state_that_waits_has_a_deadline(graph: dict) -> None:
    for state in graph:
        outcome, trial = state.record.outcome, state.record.trial
        shadowed = trial == SHADOW2 and outcome is not None and outcome.result == "shadowed"
        waits = (
            isinstance(state, Probing)
            or (isinstance(state, Trial) and not shadowed)
            or (isinstance(state, Fetching | Ready) and state.retry_at is not None)
        )
        assert (machine.deadline(state) is not None) == waits


def test_devices_that_failed_at_the_same_time_retry_at_different_times() -> None:
    began, retries = Fetching(Record(stable=A1, generation=1), B2), []
    for device in ("cam-1", "cam-2", "cam-3"):
        failed = FetchFailed(B2.digest, "transfer_stalled", "", retryable=True, spread=unit_number(device))
        retries.append(machine.deadline(machine.step(began, failed, NOW)[0]))
    assert len(set(retries)) == 3
    assert all(at is not None and NOW + 1.0 <= at <= NOW + 1.5 for at in retries)


def test_a_link_that_never_delivers_ends_in_a_rejection() -> None:
    state: State = Fetching(Record(stable=A1, generation=1), B2)
    for _ in range(MAX_FETCH_ATTEMPTS - 1):
        state, _ = machine.step(state, FetchFailed(B2.digest, "transfer_stalled", "", retryable=True), NOW)
        state, _ = machine.step(state, TimerFired(), NOW + 1e6)
    state, _ = machine.step(state, FetchFailed(B2.digest, "transfer_stalled", "", retryable=True), NOW)
    assert isinstance(state, Steady)
    assert state.record.outcome is not None
    assert (state.record.outcome.result, state.record.stable) == ("rejected", A1)
    assert machine.step(state, DesiredChanged(B2), NOW) == (state, ())


def test_a_damaged_stable_is_fetched_again_once() -> None:
    state: State = Steady(Record(stable=A1, generation=1))
    state, commands = machine.step(state, ModelBroken(A1.digest, "digest_mismatch", ""), NOW)
    assert isinstance(state, Fetching)
    for event in (FetchDone(A1.digest), ModelReady(A1.digest)):
        state, commands = machine.step(state, event, NOW)
    assert (state, commands[0]) == (Steady(Record(stable=A1, generation=1), repaired=True), Load(A1))
    again, commands = machine.step(state, ModelBroken(A1.digest, "model_load_failed", ""), NOW)
    assert again is state
    assert len(commands) == 1


def test_a_baseline_of_few_judged_inferences_does_not_replace_the_durable_one() -> None:
    policy = replace(POLICY, min_samples=30)
    wanted = replace(B2, policy=policy)
    durable = Baseline(labelled=500, correct=450)
    ready = Ready(Record(stable=A1, generation=1, baseline=durable), wanted, NOW)
    after, _ = machine.step(ready, ActivationAllowed(wanted.digest, Baseline(labelled=3, correct=0)), NOW)
    assert after.record.baseline == durable
    fresh = Baseline(labelled=60, correct=40)
    after, _ = machine.step(ready, ActivationAllowed(wanted.digest, fresh), NOW)
    assert after.record.baseline == fresh


@pytest.mark.parametrize("give_up_s", [50, 500])
def test_a_trial_that_cannot_be_judged_ends_at_the_deadline_of_its_policy(give_up_s: int) -> None:
    wanted = replace(B2, policy=replace(POLICY, give_up_s=Decimal(give_up_s)))
    trial, _ = machine.step(Ready(Record(), wanted, NOW), ActivationAllowed(wanted.digest), NOW)
    assert machine.deadline(trial) == NOW + give_up_s
    assert machine.step(trial, TimerFired(), NOW + give_up_s - 1)[0] is trial
    after, _ = machine.step(trial, TimerFired(), NOW + give_up_s)
    assert after.record.outcome is not None
    assert (after.record.trial, after.record.outcome.code) == (None, "trial_inconclusive")
