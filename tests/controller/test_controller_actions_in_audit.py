"""The audit holds what the controller did by itself, with its cause. It is read in parts; nothing ends its tasks."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from contract.errors import Code, WorldError
from controller.api import app as api_app
from controller.api.app import make_app
from controller.config import Config, StorageConfig
from controller.fleet.twin import Twin
from controller.reconcile.deeds import MAX_QUARANTINED_NAMED, Deed, deeds_of, joined, quarantines
from controller.reconcile.durable import FleetRecords
from controller.reconcile.one_pass import Passes
from controller.reconcile.world import Durable, World
from controller.rollout.endings import Ending
from controller.rollout.model import Member, Rollout
from controller.rollout.strategies import ALL_AT_ONCE
from controller.state import State, open_state
from controller.trust.refusals import Refusal
from controller.verbs import audit, refusals, rollouts
from controller.verbs.steering import steer
from tests.controller.rollout_worlds import CANARY, DEVICES, broken, rollout, targets
from tests.controller.test_api import call, fail_on, meet, push
from tests.controller.test_one_pass import Outside, run

pytestmark = pytest.mark.usefixtures("conversions_kept")


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    made = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path))))
    yield made
    made.close()


def by_controller(state: State) -> list[tuple[str, str, str]]:
    found = state.journal.audit_entries(wanted=audit.AuditFilter(actor="controller"))
    return [(each["action"], each["subject"], each["detail"]) for each in reversed(found)]


def test_a_roll_back_and_a_quarantine_are_in_the_audit_with_their_cause(state: State) -> None:
    push(state)
    meet(state, "a", "b")
    view = fail_on(state, "a")
    found = {action: (subject, detail) for action, subject, detail in by_controller(state)}
    subject, detail = found["rollout rollback"]
    assert subject == view["id"]
    assert detail.startswith("m v1: failed_ratio: 1 of")
    assert detail.endswith("; failed: a (health_accuracy)")
    assert found["device quarantine"] == ("a", f"m v1 failed there in {view['id']}: health_accuracy accuracy 0.5")
    assert found["trust sign"] == ("m", "v1 passed and the release key is here")


def test_entries_about_a_traced_rollout_name_its_trace(state: State) -> None:
    push(state)
    meet(state, "a", "b")
    state.events.trace_of = lambda rollout: f"trace-of-{rollout.id}"
    started = rollouts.start(state, "m", None, ALL_AT_ONCE, {}, actor="ann")
    steer(state, started.id, "pause", actor="ann")
    audit.note(state, Deed("rollout completed", started.id, "m v1"), Deed("device quarantine", "a", "m v1 failed"))
    entries = {each["action"]: each["detail"] for each in state.journal.audit_entries()}
    for action in ("rollout start", "rollout pause", "rollout completed"):
        assert entries[action].endswith(f"; trace trace-of-{started.id}")
    assert entries["device quarantine"] == "m v1 failed"


@pytest.mark.parametrize(
    ("before", "after", "action"),
    [
        ("running", {"status": "paused", "reason": "why"}, "rollout pause"),
        ("running", {"status": "aborting", "reason": "why"}, "rollout abort"),
        ("paused", {"status": "rolling_back", "reason": "why"}, "rollout rollback"),
        ("aborting", {"status": "aborted", "reason": "why"}, "rollout aborted"),
        ("rolling_back", {"status": "rolled_back", "reason": "why"}, "rollout rolled back"),
        ("running", {"wave": 1}, "rollout wave"),
        ("running", {"stopped_strata": ("arm",), "reason": "why"}, "rollout stop"),
        ("running", {"stopped_waves": (0,), "reason": "why"}, "rollout stop"),
    ],
)
def test_each_change_of_a_rollout_in_a_pass_is_one_audit_entry(before: Any, after: dict[str, Any], action: str) -> None:
    began = rollout(status=before)
    (deed,) = deeds_of(began, replace(began, **after), {})
    assert (deed.action, deed.subject) == (action, "r-1")
    assert "reason" not in after or "why" in deed.detail


def test_a_completion_names_the_number_of_devices_with_the_release(state: State) -> None:
    began = rollout(status="running")
    endings = {device: Ending(outcome="succeeded") for device in DEVICES[1:]} | {"d0": Ending(outcome="silent")}
    (deed,) = deeds_of(began, replace(began, status="completed"), endings)
    assert deed == Deed("rollout completed", "r-1", "m v2: 4 of 5 devices have it")


def test_a_change_of_bookkeeping_only_is_no_audit_entry() -> None:
    began = rollout(status="running")
    assert deeds_of(began, replace(began, wave_done_at=5.0), {}) == []
    assert joined(began, began) == []


def test_devices_that_join_a_completed_rollout_are_named() -> None:
    began = rollout()
    grown = replace(began, members=(*began.members, *(Member(device=f"n{n}", wave=1) for n in range(5))))
    assert joined(began, grown) == [Deed("rollout join", "r-1", "5 devices: n0, n1, n2 and 2 more")]


def test_a_bad_release_in_a_large_wave_adds_few_audit_entries() -> None:
    devices = [f"d{number:04}" for number in range(1000)]
    found = quarantines(rollout(), devices, {})
    assert len(found) == MAX_QUARANTINED_NAMED + 1
    assert found[-1].subject == f"{1000 - MAX_QUARANTINED_NAMED} more devices"


@pytest.fixture
def outside() -> Outside:
    return Outside()


def tripping() -> tuple[World, Rollout]:
    """A rollout whose canary has failed: the next pass rolls it back."""
    began = rollout(among=targets([CANARY]))
    told = broken(CANARY)
    assert told.state is not None
    assert told.assigned is not None
    twin = Twin(CANARY, seen_at=5.0, connected=True, desired={"m": told.assigned}, reported={"m": told.state})
    return World(silent_s=90.0, durable=Durable({CANARY: twin}, {began.id: began})), began


def test_an_action_is_in_the_audit_before_its_row_is_written(outside: Outside) -> None:
    world, _ = tripping()
    asked = run(Passes(world, FleetRecords(outside), history=outside, broker=outside, listener=outside), outside)
    assert asked[:3] == ["take", "audit", "write"]
    assert {each.action for each in outside.deeds} == {"rollout rollback", "device quarantine"}


def test_if_the_disk_accepts_no_audit_entry_the_row_waits_too_and_the_next_pass_writes_both(outside: Outside) -> None:
    world, began = tripping()
    made = Passes(world, FleetRecords(outside), history=outside, broker=outside, listener=outside)
    outside.full = "audit"
    with pytest.raises(WorldError):
        run(made, outside)
    assert "write" not in outside.asked
    outside.full = ""
    run(made, outside)
    assert FleetRecords(outside).load_world({}, 90.0).durable.rollouts[began.id].status == "rolling_back"


def test_a_row_that_is_refused_after_its_audit_entry_adds_no_second_entry(outside: Outside) -> None:
    world, _ = tripping()
    made = Passes(world, FleetRecords(outside), history=outside, broker=outside, listener=outside)
    outside.full = "write"
    with pytest.raises(WorldError):
        run(made, outside)
    outside.full = ""
    run(made, outside)
    assert [each.action for each in outside.deeds].count("rollout rollback") == 1


def test_a_newer_rollout_that_ends_a_roll_back_is_audited_as_an_action_of_the_controller(state: State) -> None:
    push(state)
    push(state)
    meet(state, "a", "b")
    began = rollouts.start(state, "m", 1, rollouts.resolve_strategy("all_at_once"), {}, actor="ada")
    returning = replace(began, status="rolling_back", returning_since=time.time())
    state.save_rollouts(returning)
    rollouts.start(state, "m", 2, rollouts.resolve_strategy("all_at_once"), {}, actor="ada")
    assert ("rollout rolled back", began.id) in [each[:2] for each in by_controller(state)]
    assert "newer rollout" in by_controller(state)[-1][2]


def test_a_rollout_started_by_a_policy_is_audited_as_an_action_of_the_controller_with_the_policys_author(
    state: State,
) -> None:
    meet(state, "a", "b")
    push(state)
    call(state, "PUT", "/v1/models/m/deployment", json={"strategy": "all_at_once"})
    meet(state)
    found = {action: detail for action, _, detail in by_controller(state)}
    assert "by the policy of local:ada" in found["rollout start"]


def test_the_audit_is_read_by_time_actor_action_and_subject_page_by_page(state: State) -> None:
    for number in range(1, 8):
        at = f"2026-01-0{number}T00:00:00+00:00"
        state.journal.audit(at, "ada" if number % 2 else "controller", "rollout start", f"r-{number}", "d")
    state.journal.audit("2026-01-09T00:00:00+00:00", "ada", "push", "m v1", "")

    def subjects(query: str) -> list[str]:
        status, found = call(state, "GET", f"/v1/audit?{query}")
        assert status == 200, found
        return [each["subject"] for each in found]

    assert subjects("actor=controller") == ["r-6", "r-4", "r-2"]
    assert subjects("since=2026-01-03&until=2026-01-05") == ["r-4", "r-3"]
    assert subjects("since=2026-01-07T01:00:00%2B01:00&action=rollout") == ["r-7"]
    assert subjects("subject=r-3") == ["r-3"]
    assert subjects("action=pu") == ["m v1"]
    assert subjects("actor=ad") == [], "an actor is a whole name"
    first = call(state, "GET", "/v1/audit?limit=3")[1]
    assert [each["number"] for each in first] == [8, 7, 6]
    assert subjects("limit=3&before=6") == ["r-5", "r-4", "r-3"]
    for wrong in ("since=yesterday", "limit=x", "before=-1", "actr=ada", f"subject={'x' * 300}"):
        assert call(state, "GET", f"/v1/audit?{wrong}")[1]["code"] == "request_invalid", wrong


def refuse_writes(*_: object) -> None:
    raise WorldError(Code.DISK_FULL, "full")


def test_a_journal_that_accepts_no_entry_does_not_end_the_task_that_writes_refused_attempts(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_app, "TELL_S", 0.01)
    state.refusals.note(Refusal("eve", "refused", "forbidden", "GET /v1/x"), 0.0)
    state.refusals.note(Refusal("eve", "refused", "forbidden", "GET /v1/x"), 0.0)
    written = state.journal.audit
    told = "1 more within a minute: GET /v1/x"

    async def script() -> list[str]:
        ended = api_app._tell_refusals(make_app(state, "t"))
        await anext(ended)
        state.journal.audit = refuse_writes  # type: ignore[method-assign]
        await asyncio.sleep(0.1)
        state.journal.audit = written  # type: ignore[method-assign]
        for _ in range(200):
            await asyncio.sleep(0.02)
            if any(each["detail"] == told for each in state.journal.audit_entries()):
                break
        found = [each["detail"] for each in state.journal.audit_entries()]
        with suppress(StopAsyncIteration):
            await anext(ended)
        return found

    assert told in asyncio.run(script())


def test_a_refused_attempt_is_refused_even_while_the_journal_accepts_no_entry(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as full:
        full.setattr(state.journal, "audit", refuse_writes)
        assert call(state, "GET", "/v1/models", headers={"Authorization": "Bearer wrong"})[0] == 401
    refusals.audit(state, [])
    assert [each["action"] for each in state.journal.audit_entries()] == ["refused"], "it was kept until then"


def test_no_token_may_have_the_name_of_the_controller(state: State) -> None:
    body = {"name": "controller", "roles": ["viewer"], "days": 1}
    assert call(state, "POST", "/v1/tokens", json=body)[1]["code"] == "name_invalid"
