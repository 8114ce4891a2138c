"""Pins: a person holds a model on devices at one release. Rollouts, roll backs and retries leave them alone."""

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from contract.errors import BadInput
from contract.messages import Heartbeat, ModelState, UpdateOutcome, VersionRef
from controller.clock import today
from controller.config import Config, StorageConfig
from controller.fleet.exclusion import Exclusion
from controller.fleet.pin import pinned_among
from controller.reconcile.decisions import SWEEP_S, reconcile
from controller.reconcile.old_words import exclusion_of, with_exclusions
from controller.rollout.decide import decide
from controller.rollout.endings import Ending, shown
from controller.rollout.facts import DeviceFact
from controller.rollout.model import Rollout
from controller.rollout.rows import Rows
from controller.state import State, open_state
from controller.verbs import rollouts
from controller.verbs.retries import retry_failed
from tests.controller.heard import hear
from tests.controller.registry_worlds import version
from tests.controller.rollout_worlds import DEVICES, done, fact, facts, rollout
from tests.controller.test_api import HARDWARE, call

ALL = {"name": "all", "waves": [{"percent": 100}], "preflight": False}


def open_at(path: Path) -> State:
    return open_state(Config(storage=StorageConfig(data_dir=str(path))))


def said(state: State, device: str, release: int, seq: int = 1, generation: int = 1, **fields: Any) -> None:
    """A heartbeat of a device that has confirmed a release."""
    digest = state.registry.version("m", release).manifest.artifact.sha256
    ref = VersionRef(release=release, digest=digest)
    runs = ModelState(model="m", phase="steady", generation=generation, stable=ref, serving=digest, stable_proven=True)
    head = {"protocol": 1, "boot": 1, "uptime_s": 1, "hardware": HARDWARE}
    hear(state, Heartbeat(device=device, seq=seq, models=(runs,), **head, **fields))


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    made = open_at(tmp_path)
    for release in (1, 2):
        made.blobs.put(b"model %d" % release)
        made.registry.add(version(release, artifact=b"model %d" % release))
    made.trust_metadata.vouch("m", made.publisher.manifests("m", ()), today())
    for device in ("a", "b"):
        said(made, device, 1)
    yield made
    made.close()


def pin(state: State, *devices: str, dry: bool = False, **asked: Any) -> list[dict[str, Any]]:
    path = f"/v1/devices/pin{'/dry-run' if dry else ''}"
    status, answers = call(state, "POST", path, json={"devices": devices, "model": "m", **asked})
    assert status == 200, answers
    return answers


def unpin(state: State, *devices: str) -> list[dict[str, Any]]:
    return call(state, "POST", "/v1/devices/unpin", json={"devices": devices, "model": "m"})[1]


def start(state: State, release: int = 2) -> Rollout:
    return rollouts.start(state, "m", release, rollouts.resolve_strategy(ALL), {}, actor="ada")


def desired(state: State, device: str) -> int:
    told = state.world.durable.twins[device].desired.get("m")
    return told.release if told is not None else 0


def step(state: State, after_s: float = 0.0) -> Any:
    return reconcile(state.world, [], time.time() + after_s)


def held(device: str, at: int, known: DeviceFact | None = None) -> DeviceFact:
    return replace(known or fact(device), pinned_at=at)


def test_a_rollout_leaves_a_pinned_device_out_and_names_it_with_the_reason(state: State) -> None:
    assert pin(state, "a", reason="audit in May")[0]["is_moved"] is False
    plan = call(state, "POST", "/v1/rollouts/plan", json={"model": "m", "strategy": ALL})[1]
    assert (plan["devices"], plan["pinned"]) == (1, ["a"])
    assert (
        "pinned at v1 by local:ada: audit in May; `edgeward device unpin a --model m` ends that"
        in plan["excluded"]["a"]
    )
    started = start(state)
    step(state)
    assert (desired(state, "a"), desired(state, "b")) == (0, 2)
    assert "1 device is pinned and stays where it is: a." in rollouts.explain(state, started.id)
    shown = call(state, "GET", "/v1/devices/a")[1]
    assert (shown["pins"]["m"]["release"], shown["pins"]["m"]["reason"]) == (1, "audit in May")
    assert any(
        "m is pinned at v1 by local:ada" in words for words in call(state, "GET", "/v1/devices/a/why")[1]["sentences"]
    )
    assert [each["device"] for each in call(state, "GET", "/v1/devices?pinned=true")[1]["devices"]] == ["a"]


def test_a_device_on_another_release_is_sent_to_the_pinned_one_or_refused_with_the_reason(state: State) -> None:
    assert pin(state, "a", dry=True, release=2)[0]["is_moved"] is True
    assert not state.world.durable.twins["a"].pins, "a preview does nothing"
    moved = pin(state, "a", release=2)[0]
    assert (moved["release"], moved["runs"], moved["is_moved"]) == (2, 1, True)
    assert desired(state, "a") == 2
    assert "a" in step(state).redesired, "its document is published"
    assert call(state, "POST", "/v1/devices/pin", json={"devices": ["b"], "model": "m", "release": 9})[0] == 404
    said(state, "b", 1, seq=2, pinned={"m": 1})
    refused = pin(state, "b", release=2)[0]
    assert refused["code"] == "pinned"
    assert "its own configuration holds m at v1" in refused["detail"]
    assert pin(state, "nobody")[0]["code"] == "unknown_device"
    audit = call(state, "GET", "/v1/audit")[1]
    assert [each["subject"] for each in audit if each["action"] == "device pin"] == ["a"]


def test_a_pin_in_the_middle_of_a_rollout_takes_the_device_out_and_back(state: State) -> None:
    started = start(state)
    step(state)
    assert desired(state, "a") == 2
    assert pin(state, "a")[0]["is_moved"] is True, "it was told to run v2, and is to keep v1"
    said(state, "b", 2, seq=2, generation=2**40)
    step(state)
    step(state)
    kept = state.world.durable.rollouts[started.id]
    assert kept.status == "completed", "no wave waits for a pinned device"
    assert state.world.durable.endings[started.id]["a"].outcome == "pinned"
    assert desired(state, "a") == 1


def test_pins_outlive_a_restart_and_end_at_their_time(state: State, tmp_path: Path) -> None:
    soon = time.time() + 3600
    pin(state, "a", until=soon)
    again = open_at(tmp_path)
    assert again.world.durable.twins["a"].pins["m"].until == soon
    step(again)
    assert again.world.durable.twins["a"].pins
    over = step(again, after_s=3600 + SWEEP_S)
    assert over.unpinned == {"a"}
    assert not again.world.durable.twins["a"].pins
    assert [(deed.action, deed.subject) for deed in over.deeds] == [("device unpin", "a")]
    assert "its time is over" in over.deeds[0].detail
    again.close()
    status, refused = call(state, "POST", "/v1/devices/pin", json={"devices": ["a"], "model": "m", "until": 5.0})
    assert (status, refused["code"]) == (422, "request_invalid")


def test_an_open_rollout_takes_a_device_in_once_its_pin_has_ended(state: State, tmp_path: Path) -> None:
    pin(state, "a")
    started = start(state)
    step(state)
    assert "a" in state.world.durable.rollouts[started.id].excluded
    freed = unpin(state, "a")[0]
    assert (freed["release"], freed["rollout"], freed["rollout_release"]) == (1, started.id, 2)
    step(state)
    step(state)
    assert desired(state, "a") == 2
    again = open_at(tmp_path)
    assert again.world.durable.rollouts[started.id].excluded == {}, "the row of an excluded device goes"
    again.close()
    assert unpin(state, "a")[0]["code"] == "request_invalid"


def test_a_retry_passes_pinned_devices_by(state: State) -> None:
    started = start(state)
    step(state)
    for device in ("a", "b"):
        failed = {"result": "rejected", "code": "golden_mismatch"}
        told = state.world.durable.twins[device].desired["m"]
        outcome = {"generation": told.generation, "version": {"release": 2, "digest": told.digest}, **failed}
        _report_outcome(state, device, outcome)
    step(state)
    ended = replace(state.world.durable.rollouts[started.id], status="aborted")
    state.save_rollouts(ended)
    pin(state, "a")
    pin(state, "b")
    with pytest.raises(BadInput, match="nothing is left to try again: 2 devices pinned at another version"):
        retry_failed(state, started.id, actor="ada")
    assert unpin(state, "b")[0]["release"] == 1
    assert [each.device for each in retry_failed(state, started.id, actor="ada").members] == ["b"]


def _report_outcome(state: State, device: str, outcome: dict[str, Any]) -> None:
    twin = state.world.durable.twins[device]
    runs = replace(
        twin.reported["m"],
        generation=outcome["generation"],
        outcome=msgspec.convert(outcome, UpdateOutcome),
    )
    head = {"protocol": 1, "boot": 1, "uptime_s": 1, "hardware": HARDWARE}
    hear(state, Heartbeat(device=device, seq=9, models=(runs,), **head))


@pytest.mark.parametrize("status", ["running", "paused", "rolling_back", "aborting", "completed"])
def test_no_decision_in_any_status_moves_a_pinned_device(status: Any) -> None:
    """A thousand drawn fleets: whatever each device has and does, a pinned one is offered nothing but its release."""
    drawn = random.Random(26)
    for _ in range(200):
        known = {
            device: held(
                device,
                drawn.choice((0, 1, 2, 3)),
                fact(
                    device,
                    assigned=drawn.choice((None, 1, 2)),
                    stable=drawn.choice((None, 1, 2)),
                    result=drawn.choice(("", "rejected", "rolled_back", "confirmed")),
                    presence=drawn.choice(("online", "offline", "silent")),
                ),
            )
            for device in DEVICES
        }
        begun = rollout(status=status, wave=drawn.choice((0, 1)), stopped_waves=drawn.choice(((), (0,), (0, 1))))
        for offer in decide(begun, known, Rows(), now=drawn.uniform(0.0, 500.0)).offers:
            assert known[offer.device].pinned_at in (0, offer.release), (begun, known[offer.device], offer)


def test_a_roll_back_neither_moves_nor_awaits_a_device_that_is_pinned_at_the_release() -> None:
    back = rollout(status="rolling_back", wave=1)
    known = facts(**{device: done(device) for device in DEVICES}) | {"d0": held("d0", 2, done("d0"))}
    decision = decide(back, known, Rows(), now=1.0)
    assert sorted(offer.device for offer in decision.offers) == ["d1", "d2", "d3", "d4"]
    returned = {device: fact(device) for device in DEVICES} | {"d0": held("d0", 2, done("d0"))}
    assert decide(back, returned, Rows(), now=2.0).rollout.status == "rolled_back"


def test_a_pinned_device_counts_neither_way() -> None:
    begun = rollout(wave=1)
    known = facts(**{device: done(device) for device in DEVICES}) | {"d0": held("d0", 1)}
    decision = decide(begun, known, Rows(), now=1.0)
    assert decision.rollout.wave_done_at == 1.0
    assert {device: ending.outcome for device, ending in decision.endings.items()}["d0"] == "pinned"


def test_a_pinned_device_is_found_by_the_code_of_its_reason_and_not_by_words() -> None:
    excluded = {
        "b": Exclusion("pinned", "festgehalten bei v1"), "a": Exclusion("pinned", "pinned at v1"),
        "c": Exclusion("hardware", "pinned at v1 is how this text begins"),
    }  # fmt: skip
    assert pinned_among(excluded) == ["a", "b"]


def test_a_reason_that_was_stored_without_a_code_is_still_read() -> None:
    assert exclusion_of(b"pinned at v1 by ada") == Exclusion("pinned", "pinned at v1 by ada")
    assert exclusion_of(b"512 MB of memory") == Exclusion("unknown", "512 MB of memory")
    kept = with_exclusions({"id": "r", "excluded": {"a": "pinned at v1"}})
    assert kept == {"id": "r", "excluded": {"a": {"why": "pinned", "words": "pinned at v1"}}}
    assert with_exclusions(kept) == kept


def test_the_outcome_of_a_device_that_is_pinned_after_its_success_stays_pinned_in_the_completed_rollout() -> None:
    begun, succeeded = rollout(wave=1), Ending(outcome="succeeded")
    known = facts(**{device: done(device) for device in DEVICES}) | {"d0": held("d0", 1, done("d0"))}
    endings = {"d0": succeeded, **decide(begun, known, Rows(), 1.0, {"d0": succeeded}).endings}
    assert endings["d0"].outcome == "pinned"
    over = replace(begun, status="completed")
    endings |= decide(over, known, Rows(), 2.0, endings).endings
    assert shown(over, "succeeded", endings["d0"]) == "pinned"
    assert (shown(over, "pending", None), shown(over, "retired", None)) == ("waiting", "retired")
    assert "d0" not in decide(over, known, Rows(), 2.0, {"d0": succeeded}).endings, "a later pin changes no history"
