"""Captured rows become versions of data sets; a deletion takes rows out of all of them and waits for devices."""

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from msgspec.structs import replace

from contract.captured import Captured, CapturedRow
from contract.erasure import MAX_NAMED, Erasure
from contract.errors import BadInput, Code, WorldError
from controller.api.app import make_app
from controller.config import Config, StorageConfig
from controller.fleet.twin import Twin
from controller.reconcile.decisions import reconcile
from controller.reconcile.world import Retired, drop_twin
from controller.state import State, open_state
from controller.verbs import data_sets, erasures
from controller.verbs.data_sets import RowsWanted
from controller.verbs.erasures import ErasureWanted
from tests.controller.registry_worlds import version


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    made = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path))))
    for release in (1, 2):
        made.registry.add(version(release, data_sets=("rows@1",) if release == 2 else ()))
    for device in ("a", "b"):
        made.world.durable.twins[device] = Twin(device)
    yield made
    made.close()


def captured(number: int, **changes: Any) -> CapturedRow:
    row = CapturedRow(
        at=float(number), model="m", release=1, why="sampled", inputs={"x": float(number), "site": "oslo"}, value="1",
        id=f"answer-{number}", key=f"person-{number % 3}",
    )  # fmt: skip
    return replace(row, **changes)


def keep(state: State, device: str, seq: int, *rows: CapturedRow) -> None:
    state.captures.keep([(device, Captured(protocol=1, device=device, boot=1, seq=seq, rows=rows))])


def make(state: State, **wanted: Any) -> Any:
    return asyncio.run(data_sets.make(state, "rows", RowsWanted("m", **wanted), actor="ada"))


def ask(state: State, **wanted: Any) -> Any:
    return asyncio.run(erasures.request(state, ErasureWanted("a person asked", **wanted), actor="ada"))


def test_the_same_rows_make_no_new_version_and_a_label_does(state: State) -> None:
    keep(state, "a", 1, *map(captured, range(6)))
    first, is_new = make(state)
    assert (is_new, first.reference, first.rows, first.labelled, first.devices) == (True, "rows@1", 6, 0, 1)
    assert first.columns["x"] == "double"
    assert first.columns["site"] == "string"
    assert make(state) == (first, False)
    state.captures.label("m", {1: "rain", 2: 0.5}, 1000.0)
    second, _ = make(state)
    assert (second.version, second.labelled) == (2, 2)
    assert make(state, labelled=True)[0].rows == 2
    assert make(state, since=2.0, until=5.0)[0].rows == 3
    found = asyncio.run(data_sets.compare(state, "rows@1", "rows@2"))
    assert (found.added, found.gone, found.relabelled) == (0, 0, 2)
    assert found.labels == {"rain": (0, 1), "0.5": (0, 1)}


def test_private_columns_are_left_out_and_a_version_is_deleted_when_its_time_is_over(state: State) -> None:
    keep(state, "a", 1, *map(captured, range(6)))
    made, _ = make(state, remove=("_key", "site"), keep_days=1.0)
    assert "site" not in made.columns
    assert {row["_key"] for row in state.data_sets.rows_of(made)} == {None}
    data_sets.keep_retention(state)
    assert state.data_sets.find("rows@1").sha256
    state.data_sets._save(replace(made, keep_until=time.time() - 1))
    state.data_look_at = 0.0
    data_sets.keep_retention(state)
    gone = state.data_sets.find("rows@1")
    assert (gone.sha256, gone.former) == ("", (made.sha256,))
    assert state.journal.audit_entries(1)[0]["action"] == "data expire"
    with pytest.raises(BadInput, match="the rows of rows@1 were deleted at"):
        state.data_sets.content(gone)


def test_rows_of_a_person_are_deleted_from_captures_and_versions_even_without_their_keys(state: State) -> None:
    keep(state, "a", 1, *map(captured, range(6)))
    make(state)
    make(state, remove=("_key",))
    asked = ask(state, keys=("person-1",))
    assert (asked.captured_rows, asked.data_sets) == (2, {"rows@1": 2, "rows@2": 2})
    assert [(each.model, each.release) for each in asked.trained] == [("m", 2)]
    for reference in ("rows@1", "rows@2"):
        left = state.data_sets.find(reference)
        assert [row["_id"] for row in state.data_sets.rows_of(left)] == [1, 3, 4, 6]
        assert (left.rows, left.erased_rows) == (4, 2)
    assert {row.key for _, _, row in state.captures.rows_of("m")} == {"person-0", "person-2"}
    assert b"person-1" not in b"".join(each.read_bytes() for each in state.config.data_dir.glob("captured.sqlite*"))


def test_a_deletion_is_complete_when_the_last_device_has_confirmed_it_and_the_audit_has_the_duration(
    state: State,
) -> None:
    keep(state, "a", 1, captured(1))
    asked = ask(state, keys=("person-1",))
    assert asked.waiting == ["a", "b"]
    changes = reconcile(state.world, (), time.time())
    assert changes.redesired == {"a", "b"}
    assert state.publisher.desired(state.world.durable.twins["a"]).payload.count(asked.order.id.encode()) == 1
    answer(state, "a", asked.order.id, 3)
    erasures.follow(state)
    assert state.erasures.find(asked.order.id).devices == {"a": 3, "b": -1}
    assert state.world.durable.twins["a"].erasures == ()
    answer(state, "b", asked.order.id, 0)
    erasures.follow(state)
    done = state.erasures.find(asked.order.id)
    assert done.done_at
    entry = state.journal.audit_entries(1)[0]
    assert (entry["action"], entry["subject"], entry["actor"]) == ("rows deleted", asked.order.id, "controller")
    assert entry["detail"].startswith("done after 0.")
    assert "1 captured rows" in entry["detail"]
    assert "3 on 2 devices" in entry["detail"]


def answer(state: State, device: str, order: str, rows: int) -> None:
    twins = state.world.durable.twins
    twins[device] = replace(twins[device], erased={order: rows})


def test_deleted_rows_that_arrive_again_are_refused_and_new_ones_are_accepted_after_the_deletion(state: State) -> None:
    asked = ask(state, keys=("person-1",))
    keep(state, "a", 1, captured(1), captured(2))
    assert [row.key for _, _, row in state.captures.rows_of("m")] == ["person-2"]
    for device in ("a", "b"):
        answer(state, device, asked.order.id, 0)
    erasures.follow(state)
    keep(state, "a", 2, captured(4), captured(7, at=time.time() + 5))
    assert [row.id for _, _, row in state.captures.rows_of("m")] == ["answer-2", "answer-7"]


def test_the_controller_answers_while_rows_are_deleted_and_no_deletion_is_complete_before(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(state, "a", 1, *map(captured, range(6)))
    make(state)
    begun, may_end, without = threading.Event(), threading.Event(), state.data_sets.without

    def slow(*asked: Any) -> Any:
        begun.set()
        assert may_end.wait(20)
        return without(*asked)

    monkeypatch.setattr(state.data_sets, "without", slow)
    wanted = ErasureWanted("a person asked", devices=("a",), keys=("person-1",))

    async def script() -> Any:
        async with TestClient(TestServer(make_app(state, "edg_test"))) as client:
            asked = asyncio.create_task(erasures.request(state, wanted, actor="ada"))
            assert await asyncio.to_thread(begun.wait, 20)
            health = await client.get("/v1/health")
            assert (await health.json())["findings"] == ["broker_lost"], "it answers meanwhile"
            answer(state, "a", state.erasures.all()[0].order.id, 1)
            erasures.follow(state)
            assert not state.erasures.all()[0].done_at
            rows, _ = await data_sets.make(state, "more", RowsWanted("m"), actor="bob")
            assert rows.rows == 4, "rows that are to go come into no new version"
            may_end.set()
            return await asked

    made = asyncio.run(script())
    assert (made.captured_rows, made.data_sets) == (2, {"rows@1": 2})
    erasures.follow(state)
    assert state.erasures.find(made.order.id).done_at


def test_a_version_that_is_pushed_later_is_listed_as_trained_on_deleted_rows(state: State) -> None:
    keep(state, "a", 1, *map(captured, range(6)))
    make(state)
    asked = ask(state, keys=("person-1",))
    later = version(3, data_sets=("rows@1",), run="run-7")
    for each in (later, later, version(4, data_sets=("other@1",)), version(5)):
        erasures.note_version(state, each)
    trained = state.erasures.find(asked.order.id).trained
    assert [(each.release, each.data_set, each.run) for each in trained] == [(2, "rows@1", ""), (3, "rows@1", "run-7")]
    entry = state.journal.audit_entries(1)[0]
    assert (entry["subject"], entry["detail"]) == (asked.order.id, "m v3 names rows@1, which has lost rows")


def test_a_deletion_does_not_wait_for_a_device_that_has_left_the_fleet(state: State) -> None:
    asked = ask(state, devices=("b",), since=1)
    assert asked.waiting == ["b"]
    state.world.durable.retired["b"] = Retired("now", "ada")
    drop_twin(state.world, "b")
    erasures.follow(state)
    assert state.erasures.find(asked.order.id).done_at


def test_a_killed_controller_continues_a_deletion(state: State, tmp_path: Path) -> None:
    state.records.save(state.world.durable, ["a", "b"], (), ())
    keep(state, "a", 1, captured(1), captured(2))
    made = replace(ask(state, keys=("person-7",)), order=Erasure(id="del-1", keys=("person-1",)))
    state.erasures.save(made)  # killed before anything else was done
    state.close()
    again = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path))))
    asyncio.run(erasures.resume(again))
    assert [row.key for _, _, row in again.captures.rows_of("m")] == ["person-2"]
    assert again.erasures.find("del-1").captured_rows == 1
    assert "del-1" in {each.id for each in again.world.durable.twins["b"].erasures}
    again.close()


def test_a_deletion_that_fails_stays_open_and_the_controller_starts(
    state: State, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ask(state, keys=("person-1",))

    def fails(*_: object) -> list[int]:
        raise WorldError(Code.DISK_FULL, "no space left")

    monkeypatch.setattr(state.captures, "concerned", fails)
    with caplog.at_level("ERROR", logger="edgeward.erasures"):
        asyncio.run(erasures.resume(state))
    assert state.open_erasures
    assert "could not go on" in caplog.text


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({}, "this would delete every row"),
        ({"model": "m"}, "this would delete every row"),
        ({"devices": ("nobody",)}, "no device 'nobody'"),
        ({"keys": ("k",) * (MAX_NAMED + 1)}, "delete in several requests"),
    ],
)
def test_a_deletion_of_all_rows_or_of_no_key_is_refused(state: State, wanted: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        ask(state, **wanted)
    with pytest.raises(BadInput, match="say why"):
        asyncio.run(erasures.request(state, ErasureWanted(" ", keys=("k",)), actor="ada"))
    assert state.erasures.all() == []


def test_a_data_set_without_rows_or_with_an_unknown_name_is_refused_with_that_reason(state: State) -> None:
    with pytest.raises(BadInput, match="devices kept no rows of m that fit"):
        make(state)
    with pytest.raises(BadInput, match="no data set 'rows'; `edgeward data list` shows all"):
        state.data_sets.find("rows@7")


def test_a_missing_version_and_an_invalid_reference_have_different_errors(state: State) -> None:
    keep(state, "a", 1, *map(captured, range(6)))
    make(state)
    for reference, words in (
        ("rows@2", "rows has no version 2; it has 1"),
        ("rwos@1", "no data set 'rwos'; `edgeward data list` shows all"),
        ("rows", "'rows' names no data set: expected NAME@NUMBER or NAME@newest"),
    ):
        with pytest.raises(BadInput) as caught:
            asyncio.run(data_sets.compare(state, "rows@1", reference))
        assert caught.value.detail == words


def test_data_sets_are_searched_and_paged_and_say_which_versions_were_trained_on_them(state: State) -> None:
    keep(state, "a", 1, *map(captured, range(6)))
    make(state)
    state.captures.label("m", {1: "rain"}, 1000.0)
    make(state)

    async def run() -> list[Any]:
        async with TestClient(TestServer(make_app(state, "t")), headers={"Authorization": "Bearer t"}) as client:
            paths = ("?limit=1", "?limit=1&offset=1", "?q=ROWS+site", "?q=nothing", "?model=other")
            trained = "/rows/versions/1/trained"
            return [await (await client.get(f"/v1/data{path}")).json() for path in (*paths, trained)]

    *pages, trained = asyncio.run(run())
    assert [page["total"] for page in pages] == [2, 2, 2, 0, 0]
    assert [page["data_sets"][0]["version"] for page in pages[:3]] == [2, 1, 2], "the newest first"
    assert [(each["model"], each["release"], each["devices"]) for each in trained] == [("m", 2, 0)]
