"""Why a device runs what it runs: each sentence, as it follows from the documents and the reports."""

from typing import Any

import pytest

from contract.errors import STABLE_AGAIN
from contract.messages import ModelState, Refusal, Report, UpdateOutcome, VersionRef
from controller.fleet.twin import Assigned, Twin
from controller.reconcile.why import why, why_items
from controller.rollout.model import Member, Rollout, Strategy, Wave

V1, V2 = (VersionRef(release=number, digest=str(number) * 64) for number in (1, 2))
ROLLOUT = Rollout(
    id="r",
    model="m",
    release=2,
    digest=V2.digest,
    strategy=Strategy(name="canary", waves=(Wave(percent=100),)),
    members=(Member(device="a", wave=0),),
    created_by="ana",
)


def state(phase: Any = "steady", **fields: Any) -> ModelState:
    return ModelState(**{"model": "m", "phase": phase, "generation": 1, "stable": V1, **fields})


def told(made: ModelState) -> list[str]:
    report = Report(protocol=1, device="a", boot=1, seq=1, state=made)
    return why(Twin("a"), {}, [("noon", report)], {})


def ended(result: Any, code: str = "", detail: str = "") -> UpdateOutcome:
    return UpdateOutcome(generation=1, version=V2, result=result, code=code, detail=detail)


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        (state("fetching", target=V2), "it fetches v2"),
        (
            state("fetching", target=V2, code="digest_mismatch", detail="chunk 3"),
            "it fetches v2 (digest_mismatch chunk 3)",
        ),
        (state("probing", target=V2), "it probes v2"),
        (state("ready", target=V2, code="update_held", detail="5 s"), "v2 has arrived and waits (update_held 5 s)"),
        (state("trial", trial=V2), "v2 is on trial"),
        (state("trial", trial=V2, detail="0 of 20 inferences"), "v2 is on trial, 0 of 20 inferences so far"),
        (state("trial", trial=V2, outcome=ended("shadowed")), "v2 has passed as a shadow"),
        (state("trial", trial=V2, outcome=ended("confirmed")), "v2 is on trial"),
        (state(), "it runs v1"),
        (state(stable=None), "it runs nothing"),
        (state(outcome=ended("confirmed")), "v2 was confirmed"),
        (state(outcome=ended("rolled_back", "health_errors", "3 of 9")), "v2 was rolled back: health_errors 3 of 9"),
        (state(outcome=ended("rolled_back", "health_errors")), "v2 was rolled back: health_errors"),
        (
            state(outcome=ended("rolled_back", "superseded", STABLE_AGAIN)),
            "v2's trial ended, because v1 was asked for again",
        ),
        (
            state(outcome=ended("rolled_back", "superseded", "by generation 3")),
            "v2's trial ended, because another version was asked for",
        ),
    ],
)
def test_a_report_becomes_a_sentence_by_its_phase(made: ModelState, sentence: str) -> None:
    assert told(made) == [f"noon: m: {sentence}."]


def test_a_trial_that_another_order_ended_is_no_failure() -> None:
    made = state(outcome=ended("rolled_back", "superseded", STABLE_AGAIN))
    report = Report(protocol=1, device="a", boot=1, seq=1, state=made)
    assert why_items(Twin("a"), {}, [("noon", report)], {})[0].kind == "superseded"


def test_a_repeated_report_is_shown_once_with_its_count() -> None:
    rolled_back = Report(protocol=1, device="a", boot=1, seq=1, state=state(outcome=ended("rolled_back", "x")))
    fetches = Report(protocol=1, device="a", boot=1, seq=2, state=state("fetching", target=V2))
    history = [(str(hour), rolled_back) for hour in (1, 2, 3)] + [("4", fetches), ("5", rolled_back)]
    assert why(Twin("a"), {}, history, {}) == [
        "1: m: v2 was rolled back: x (said 3 times, until 3).",
        "4: m: it fetches v2.",
        "5: m: v2 was rolled back: x.",
    ]


def test_a_refusal_is_shown_with_its_code_and_text() -> None:
    report = Report(protocol=1, device="a", boot=1, seq=1, refusal=Refusal(code="desired_rollback", detail="3 after 4"))
    assert why(Twin("a"), {}, [("noon", report)], {}) == ["noon: it refused a document: desired_rollback 3 after 4."]


def test_the_running_and_the_desired_version_come_last_in_the_order_of_models() -> None:
    asked = Assigned(release=2, generation=7, rollout="r", attempt=2, offered_at=0.5)
    back = Assigned(release=1, generation=8, rollout="r", offered_at=60.0)
    gone = Assigned(release=1, generation=9, rollout="old", offered_at=60.0)
    twin = Twin(
        "a",
        reported={"n": state(stable=None), "m": state(stable_proven=True), "k": state()},
        desired={"n": back, "m": asked, "k": gone},
        pinned={"p": 3},
    )
    assert why(twin, {"r": ROLLOUT}, [], {V2.digest: "r0"}) == [
        "k: its last confirmed version is v1.",
        "m: its last confirmed version is v1 and has shown that it is complete and reproduces its golden set.",
        "n: it has confirmed no version.",
        "k: at 1970-01-01T00:01:00+00:00 it was asked to run v1 (generation 9).",
        "m: at 1970-01-01T00:00:00+00:00 it was asked to run v2 (generation 7, attempt 2) by rollout r, strategy "
        "canary, started by ana.",
        "n: at 1970-01-01T00:01:00+00:00 it was asked to run v1 (generation 8) by rollout r rolling v2 back, strategy "
        "canary, started by ana.",
        "Its own configuration holds p at v3.",
        "Version 222222222222 is quarantined on it: it failed there in r0.",
    ]


def test_a_quarantined_version_has_its_number_if_its_rollout_is_known() -> None:
    twin, carried = Twin("a"), {ROLLOUT.digest: "r"}
    assert why(twin, {"r": ROLLOUT}, [], carried) == [
        f"{ROLLOUT.model} v{ROLLOUT.release} is quarantined on it: it failed there in r."
    ]


def test_failed_and_refused_rows_are_shown_with_their_texts() -> None:
    faults = [("m", 2, "value_missing", "no value for x; the model requires one")]
    twin = Twin("a", reported={"m": state()})
    assert why(twin, {}, [], {}, faults=faults)[-1] == "m v2: value_missing: no value for x; the model requires one."
