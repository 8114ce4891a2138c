"""Views of a rollout with a history: pages, previews of steps, its story, a retry, and comments."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.config import Config, StorageConfig
from controller.state import State, open_state
from controller.verbs import steering
from controller.verbs.verb_previews import preview_verb
from tests.controller.rollout_scene import play
from tests.controller.test_api import AUTH, call, push

SICK = "pump-020"


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("pushed")
    state = _open(directory)
    assert [push(state, name="pump")[0] for _ in range(2)] == [200, 200]
    state.close()
    return directory


@pytest.fixture(scope="module")
def played(pushed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[State, str]]:
    state = _open(shutil.copytree(pushed, tmp_path_factory.mktemp("played") / "data"))
    yield state, play(state, hours=3.0)
    state.close()


@pytest.fixture
def fresh(pushed: Path, tmp_path: Path) -> Iterator[tuple[State, str]]:
    state = _open(shutil.copytree(pushed, tmp_path / "data"))
    yield state, play(state, hours=1.0)
    state.close()


def _open(directory: Path) -> State:
    return open_state(Config(storage=StorageConfig(data_dir=str(directory))))


def get(state: State, path: str) -> Any:
    status, answer = call(state, "GET", path)
    assert status == 200, answer
    return answer


def test_a_list_is_paged_without_members_and_names_the_failed_devices(played: tuple[State, str]) -> None:
    state, name = played
    page = get(state, "/v1/rollouts?limit=1")
    (found,) = page["rollouts"]
    assert (page["total"], found["id"], "members" in found) == (1, name, False)
    assert [(each["device"], each["code"]) for each in found["failed"]] == [(SICK, "health_latency")]
    assert get(state, "/v1/rollouts?model=other")["total"] == 0
    assert call(state, "GET", "/v1/rollouts?limit=0")[1]["code"] == "request_invalid"
    status = page["rollouts"][0]["status"]
    assert get(state, f"/v1/rollouts?status=paused&status={status}")["total"] == page["total"]
    assert get(state, "/v1/rollouts?status=proposed")["total"] == 0
    wrong = call(state, "GET", "/v1/rollouts?status=rolledback")[1]
    assert wrong["detail"].startswith("status 'rolledback': expected one of proposed, running")


def test_members_are_paged_by_outcome_wave_and_kind(played: tuple[State, str]) -> None:
    state, name = played
    assert get(state, f"/v1/rollouts/{name}/members?limit=2")["total"] == 23
    failed = get(state, f"/v1/rollouts/{name}/members?outcome=failed&outcome=pending")["members"]
    assert {(each["device"], each["outcome"]) for each in failed} == {(SICK, "failed"), ("pump-015", "pending")}
    assert next(each["detail"] for each in failed if each["device"] == "pump-015") == "offline"
    kind = get(state, f"/v1/rollouts/{name}/members?wave=0&stratum=x86_64/8192MB")
    assert {(each["wave"], each["stratum"]) for each in kind["members"]} == {(0, "x86_64/8192MB")}


def test_waves_are_counted_by_outcome_and_kind_and_have_their_duration(played: tuple[State, str]) -> None:
    state, name = played
    view = get(state, f"/v1/rollouts/{name}")
    first, second, third = view["progress"]
    assert [each["state"] for each in view["progress"]] == ["done", "now", "waiting"]
    assert (first["counts"], first["percent"], first["left_s"]) == ({"failed": 1, "succeeded": 6}, 25, 0.0)
    assert sum(count for kind in first["strata"].values() for count in kind.values()) == first["devices"] == 7
    assert (second["left_s"], third["left_s"]) == (7200.0 + 60.0, 60.0)
    assert view["left_s"] == second["left_s"] + third["left_s"]
    assert "1 device has not decided and cannot be reached" in view["left"]


def test_a_verdict_has_the_numbers_of_both_sides_and_its_consequence(played: tuple[State, str]) -> None:
    state, name = played
    verdicts = {each["metric"]: each for each in get(state, f"/v1/rollouts/{name}")["verdicts"]}
    drop, failed, agreement = (verdicts[key] for key in ("accuracy_drop", "failed_ratio", "agreement"))
    figures = drop["figures"]
    assert figures["low"] < figures["value"] < figures["high"]
    assert 0.9 < figures["control"] < figures["trial"] < 1.0, "the scene's second version is the better one"
    assert drop["on_fail"] == "roll_back_stratum"
    counted = failed["figures"]
    assert (counted["unit"], counted["devices"], counted["limit"]) == ("devices", 11, 0.2)
    assert (counted["low"], counted["high"]) == (1 / 12, 2 / 12), "what it becomes if the last one succeeds, or fails"
    assert agreement["verdict"] == "no_data", "a rule that is skipped has not passed"
    series = get(state, f"/v1/rollouts/{name}/verdicts")
    assert len({each["at"] for each in series if each["rule"] == drop["rule"]}) > 5


def test_exposure_counts_only_hours_and_predictions_of_the_release(played: tuple[State, str]) -> None:
    state, name = played
    exposure = get(state, f"/v1/rollouts/{name}")["exposure"]
    rows = state.world.measured.rows[name].table()
    assert exposure["predictions"] == int(rows.column("inferences")[rows.treated].sum())
    assert 0 < exposure["predictions_ratio"] < 1
    assert 6 * 2.5 < exposure["device_hours"] <= 10 * 3.0 < exposure["device_hours_at_most"]


def test_a_preview_describes_a_step_and_changes_nothing(played: tuple[State, str]) -> None:
    state, name = played
    before = state.world.durable.rollouts[name]
    back = call(state, "POST", f"/v1/rollouts/{name}/preview?verb=rollback")[1]
    assert (back["allowed"], back["to_release"]) == (True, {"1": 12})
    assert "12 devices go back to v1" in back["sentences"][0]
    abort = call(state, "POST", f"/v1/rollouts/{name}/preview?verb=abort")[1]
    assert "10 devices confirmed v2 and keep it." in abort["sentences"]
    promote = call(state, "POST", f"/v1/rollouts/{name}/preview?verb=promote")[1]
    assert promote["to_release"] == {"2": 11}
    assert "Wave 2 ends, and wave 3 begins: 11 devices get it." in promote["sentences"]
    assert call(state, "POST", f"/v1/rollouts/{name}/preview?verb=fly")[1]["code"] == "request_invalid"
    resume = preview_verb(state, name, "resume", actor="ada")
    assert (resume.allowed, "it cannot be resumed" in resume.refusal) == (False, True)
    assert state.world.durable.rollouts[name] == before


def test_a_step_is_refused_if_the_rollout_has_changed_since_it_was_read(played: tuple[State, str]) -> None:
    state, name = played
    status, answer = call(state, "POST", f"/v1/rollouts/{name}/pause", json={"status": "running", "wave": 0})
    assert (status, answer["code"]) == (409, "rollout_conflict")
    assert "wave 1, when you looked; now it is running, wave 2" in answer["detail"]


def test_the_story_survives_a_restart_and_lists_waves_failures_and_verdicts(fresh: tuple[State, str]) -> None:
    state, name = fresh
    steering.steer(state, name, "pause", seen=steering.Seen(reason="odd noise"), actor="mara")
    told = get(state, f"/v1/rollouts/{name}/events")
    state.close()
    again = open_state(state.config)
    assert get(again, f"/v1/rollouts/{name}/events") == told
    again.close()
    kinds = [each["kind"] for each in told]
    assert (kinds[0], kinds[-1]) == ("proposed", "paused")
    assert {"failed", "verdict"} <= set(kinds)
    assert "odd noise" in told[-1]["text"]
    assert [each["device"] for each in told if each["kind"] == "failed"] == [SICK]
    assert not any("cannot say yet" in each["text"] for each in told), "that it cannot say yet at first is no news"


def test_failed_devices_alone_are_retried(fresh: tuple[State, str]) -> None:
    state, name = fresh
    assert call(state, "POST", f"/v1/rollouts/{name}/retry")[1]["code"] == "rollout_conflict", "it has not ended"
    rollout = state.world.durable.rollouts[name]
    state.save_rollouts(steering.replace(rollout, status="aborted"))
    assert SICK in state.world.durable.quarantine
    status, started = call(state, "POST", f"/v1/rollouts/{name}/retry")
    assert (status, started["retry_of"], started["devices"]) == (200, name, 1)
    assert [each["device"] for each in started["members"]] == [SICK]
    assert not state.world.durable.quarantine[SICK]
    assert state.world.durable.rollouts[started["id"]].among == (SICK,)
    state.world.caches.joining.add("pump-001")
    from controller.reconcile.membership import join_newcomers

    assert all(each.id != started["id"] for each in join_newcomers(state.world)), "nobody else joins it"


def test_comments_on_a_rollout_are_stored_audited_and_sent_to_the_named_people(fresh: tuple[State, str]) -> None:
    state, name = fresh
    listener, below = state.events.listen(), f"/v1/rollouts/{name}/discussion"
    assert call(state, "PUT", f"{below}/ticket", json={"ticket": "javascript:alert(1)"})[1]["code"] == "request_invalid"
    call(state, "PUT", f"{below}/ticket", json={"ticket": "https://tracker/T-12"})
    call(state, "POST", f"{below}/reviews", json={"who": "ada", "text": "is this drop real?"})
    call(state, "PUT", f"{below}/note", json={"text": "first try in the north"})
    found = call(state, "POST", f"{below}/comments", json={"text": "fine by me, @jonas and a@b.org"}, headers=AUTH)[1]
    assert (found["ticket"], found["note"]["text"]) == ("https://tracker/T-12", "first try in the north")
    assert found["reviews"][0]["done_at"], "ada has written since she was asked"
    events = [listener.queue.get_nowait() for _ in range(listener.queue.qsize())]
    assert [each.data.who for each in events if each.type == "dev.edgeward.mention"] == ["ada", "jonas"]  # type: ignore[union-attr]
    assert call(state, "POST", "/v1/models/pump/discussion/comments", json={"text": "a model, too"})[0] == 200
    assert get(state, "/v1/models/pump/discussion")["comments"][0]["text"] == "a model, too"
    assert call(state, "GET", "/v1/models/none/discussion")[1]["code"] == "unknown_model"


def test_every_audit_entry_is_an_event_for_webhooks(fresh: tuple[State, str]) -> None:
    state, name = fresh
    listener = state.events.listen()
    steering.steer(state, name, "pause", actor="mara")
    events = [listener.queue.get_nowait() for _ in range(listener.queue.qsize())]
    told = next(each for each in events if each.type == "dev.edgeward.audit.rollout_pause")
    entry = state.journal.audit_entries(1)[0]
    assert (told.subject, told.data.number, told.data.actor) == (name, entry["number"], "mara")  # type: ignore[union-attr]


def test_two_rollouts_are_compared_row_by_row(played: tuple[State, str]) -> None:
    state, name = played
    found = get(state, f"/v1/rollouts/{name}/compare/{name}")
    assert all(each["left"] == each["right"] for each in found["rows"])
    assert found["devices"] == [{"device": SICK, "left": "health_latency", "right": "health_latency"}]
    assert "rule agreement" in {each["what"] for each in found["rows"]}


def test_quality_over_time_has_an_interval_by_device_for_each_version(played: tuple[State, str]) -> None:
    state, _ = played
    found = get(state, "/v1/models/pump/quality?every=hour&days=1")
    assert found["devices_ratio"] == 1.0
    newest = {each["release"]: each for each in found["points"]}
    assert set(newest) == {1, 2}
    for point in newest.values():
        assert point["low"] < point["value"] < point["high"] <= 1.0
        assert (point["metric"], point["labels"] > 0, point["devices"] > 5) == ("accuracy", True, True)
    assert call(state, "GET", "/v1/models/pump/quality?every=minute")[1]["code"] == "request_invalid"


def test_the_lineage_connects_training_and_devices(played: tuple[State, str]) -> None:
    state, name = played
    graph = get(state, "/v1/models/pump/lineage")
    ids = {each["id"]: each for each in graph["nodes"]}
    way, at = ["run 2"], "run 2"
    while (step := next((each["target"] for each in graph["edges"] if each["source"] == at), None)) is not None:
        way, at = [*way, step], step
    assert way == ["run 2", "version 2", f"rollout {name}", "devices 2"]
    assert ids["devices 2"]["title"] == "10 devices"
