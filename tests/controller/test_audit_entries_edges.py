"""The audit's entries about passes: one for each change, and a bounded number for one fault."""

from typing import Any

import pytest
from msgspec.structs import replace

from contract.messages import UpdateOutcome, VersionRef
from controller.reconcile.deeds import MAX_QUARANTINED_NAMED, Deed, deeds_of, failed_late, joined, quarantines
from controller.rollout.endings import Ending
from controller.rollout.model import Member
from tests.controller.reconcile_worlds import campaign


@pytest.mark.parametrize(
    ("changes", "action", "detail"),
    [
        ({"status": "paused", "reason": "bad"}, "rollout pause", "m v2: bad"),
        ({"status": "aborting"}, "rollout abort", "m v2"),
        ({"status": "rolling_back", "reason": "bad"}, "rollout rollback", "m v2: bad"),
        ({"status": "completed"}, "rollout completed", "m v2: 1 of 2 devices have it"),
        ({"status": "aborted"}, "rollout aborted", "m v2"),
        ({"status": "rolled_back"}, "rollout rolled back", "m v2"),
        ({"wave": 1}, "rollout wave", "wave 2 of 2 begins"),
        ({"stopped_strata": ("arm",), "reason": "bad"}, "rollout stop", "devices of kind arm go back: bad"),
        ({"stopped_waves": (1,), "reason": "bad"}, "rollout stop", "devices of wave 2 go back: bad"),
    ],
)
def test_the_new_status_of_a_rollout_is_one_audit_entry(changes: dict[str, Any], action: str, detail: str) -> None:
    members = (Member(device="a", wave=0), Member(device="b", wave=1), Member(device="c", wave=1))
    before = campaign(members=members)
    endings = {"a": Ending(outcome="succeeded"), "b": Ending(outcome="failed")}
    assert deeds_of(before, replace(before, **changes), endings) == [Deed(action, "r", detail)]
    assert deeds_of(before, replace(before, wave_done_at=1.0), endings) == []


def test_only_waves_and_strata_stopped_in_this_pass_are_audited() -> None:
    before = campaign(stopped_strata=("arm",), stopped_waves=(0,))
    after = replace(before, stopped_strata=("arm", "x86"), stopped_waves=(0, 1), reason="bad")
    assert [each.detail for each in deeds_of(before, after, {})] == [
        "devices of kind x86 go back: bad", "devices of wave 2 go back: bad",
    ]  # fmt: skip


def test_devices_that_joined_are_named_and_counted() -> None:
    assert joined(campaign("a"), campaign("a", "b")) == [Deed("rollout join", "r", "1 device: b")]
    many = joined(campaign("a"), campaign(*"abcdef"))
    assert many == [Deed("rollout join", "r", "5 devices: b, c, d and 2 more")]
    assert joined(campaign("a"), campaign("a")) == []


def test_a_bad_release_in_a_large_wave_adds_a_limited_number_of_audit_entries() -> None:
    devices = [f"d{number:02}" for number in range(MAX_QUARANTINED_NAMED + 2)]
    endings = {"d00": Ending(outcome="failed", code="health_errors", detail="0.5"), "d01": Ending(outcome="failed")}
    found = quarantines(campaign(), reversed(devices), endings)
    assert [each.subject for each in found] == [*devices[:MAX_QUARANTINED_NAMED], "2 more devices"]
    assert [each.detail for each in found[:3]] == [
        "m v2 failed there in r: health_errors 0.5", "m v2 failed there in r: failed", "m v2 failed there in r",
    ]  # fmt: skip
    assert found[-1] == Deed("device quarantine", "2 more devices", "m v2 failed there in r: d20, d21")
    assert len(quarantines(campaign(), devices[:MAX_QUARANTINED_NAMED], {})) == MAX_QUARANTINED_NAMED
    bare = UpdateOutcome(generation=1, version=VersionRef(release=3, digest="3" * 64), result="rejected", code="")
    assert failed_late("a", "m", bare) == Deed("device quarantine", "a", "m v3 failed there")
