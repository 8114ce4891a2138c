"""Runs that machines send: kept by the controller, found by words, compared, plotted, never somebody else's."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from contract.errors import BadInput, Code
from contract.run_record import Artifact, CodeState, DataUse, Entry, Environment, Point, PushedVersion, Record
from contract.run_sent import MAX_SENT_POINTS, Curve, SentRun, check_sent
from contract.wire import encode
from controller.api.app import make_app
from controller.config import Config, StorageConfig
from controller.registry import runs as kept_runs
from controller.registry.runs import RunQuery
from controller.state import State, open_state
from controller.trust.scope import Scope
from controller.verbs import runs, tokens
from edgeward.runs.sent import MAX_CURVE_POINTS, sent_run


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    made = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path))))
    yield made
    made.close()


def record(number: int, **fields: Any) -> Record:
    made: dict[str, Any] = {
        "id": f"20261127-11000{number}-abcdef", "name": "pump", "status": "finished", "started_at": 1000.0 + number,
        "ended_at": 1010.0 + number, "params": {"depth": str(number)}, "metrics": {"accuracy": 0.9 + number / 100},
        "pushed": (PushedVersion("pump", number, "d" * 64),),
    }  # fmt: skip
    return Record(**made | fields)


def keep(state: State, made: Record, actor: str = "ada") -> None:
    runs.keep(state, made.id, SentRun(record=made), actor=actor)


def ids(state: State, **query: Any) -> list[str]:
    return [each.record.id for each in state.runs.page(RunQuery(**query), 25, 0)[1]]


def test_runs_are_found_by_words_model_data_and_status_newest_first(state: State) -> None:
    first, second = record(1), record(2, status="failed", pushed=(), name="flow", tags={"site": "holm"})
    third = record(3, data=(DataUse("train", "a" * 64, 10, data_set="weather@2"),))
    for each in (first, second, third):
        keep(state, each)
    assert ids(state) == [third.id, second.id, first.id]
    assert ids(state, text="FLOW site=holm") == [second.id]
    assert ids(state, text="depth=1") == [first.id]
    assert ids(state, model="pump") == [third.id, first.id]
    assert ids(state, data_set="weather@2") == [third.id]
    assert ids(state, status="failed") == [second.id]
    assert ids(state, text="100%_") == []


def test_runs_are_sorted_by_a_metric_and_those_without_it_come_last(state: State) -> None:
    for each in (record(1), record(2, metrics={}), record(3)):
        keep(state, each)
    assert [each[14] for each in ids(state, order="-metric.accuracy")] == ["3", "1", "2"]
    assert [each[14] for each in ids(state, order="metric.accuracy")] == ["1", "3", "2"]
    with pytest.raises(BadInput, match="expected started, name, status or metric"):
        ids(state, order='metric.a"b')


def test_a_run_is_replaced_by_its_sender_alone_and_the_audit_has_each_status_once(state: State) -> None:
    keep(state, record(1, status="running", ended_at=0.0))
    keep(state, record(1))
    keep(state, record(1))
    with pytest.raises(BadInput, match="was sent by ada") as refused:
        keep(state, record(1, name="mine"), actor="eve")
    assert refused.value.code == Code.FORBIDDEN
    entries = state.journal.audit_entries(10)
    said = [(each["actor"], each["detail"]) for each in entries if each["action"] == "run send"]
    assert said == [("ada", "pump, finished; pushed pump v1"), ("ada", "pump, running; pushed pump v1")]


def test_the_oldest_runs_go_first(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_runs, "MAX_RUNS", 2)
    for number in (3, 1, 2):
        keep(state, record(number))
    assert [each[14] for each in ids(state)] == ["3", "2"]


def test_two_runs_are_compared_results_first(state: State) -> None:
    keep(state, record(1))
    keep(state, record(2, code=CodeState("c" * 40, "")))
    what = [each.what for each in runs.compared(state, record(1).id, record(2).id)]
    assert what == ["metric accuracy", "param depth", "code"]


def test_a_run_that_was_never_sent_is_said_with_the_command_that_sends_it(state: State) -> None:
    with pytest.raises(BadInput, match="edgeward run send nothing"):
        state.runs.find("nothing")


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (SentRun(record=record(1, id="../x")), "expected letters"),
        (SentRun(record=record(1, params=dict.fromkeys(map(str, range(1001)), ""))), "1001 parameters"),
        (SentRun(record=record(1), curves=(Curve(metric="m", steps=(1,), values=(), at=()),)), "differ in number"),
        (SentRun(record=record(1, started_at=float("inf"))), "begins and ends"),
    ],
)
def test_what_cannot_be_kept_of_a_run_is_refused(sent: SentRun, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        check_sent(sent)


def test_what_concerns_a_machine_alone_stays_there() -> None:
    made = record(
        1, entry=Entry(("/home/ada/train.py", "--token", "secret"), "/home/ada", "/home/ada/train.py", "e" * 64),
        code=CodeState("c" * 40, "/home/ada"), environment=Environment("3.11", "linux", {"numpy": "2.0"}, ("numpy",)),
        pushed=(PushedVersion("pump", 1, "d" * 64, {"secret": 1}),), artifacts=(Artifact("m", "f" * 64, 3),),
        metrics={"loss": float("nan"), "accuracy": 0.9},
    )  # fmt: skip
    sent = sent_run(made, ())
    assert "secret" not in str(sent)
    assert "/home" not in str(sent)
    assert sent.record.metrics == {"accuracy": 0.9}
    assert sent.record.result == made.result


def test_numbers_are_thinned_and_keep_their_last_and_a_gap_stays_a_gap() -> None:
    points = [Point("loss", step, float("inf") if step == 0 else 1 / step, 1000.0 + step) for step in range(9_999)]
    (curve,) = sent_run(record(1), points).curves
    assert len(curve.steps) <= MAX_CURVE_POINTS
    assert (curve.steps[-1], curve.values[0], curve.thinned) == (9_998, None, True)
    many = [Point(f"m{number}", step, 1.0, 0.0) for number in range(1000) for step in range(60)]
    assert sum(len(curve.steps) for curve in sent_run(record(1), many).curves) <= MAX_SENT_POINTS


def test_runs_are_sent_and_read_over_http_and_a_scoped_sender_reaches_only_their_models(state: State) -> None:
    mine = Scope(models=("pump",))
    _, token = tokens.create_token(state, "ada", ("operator",), days=1, actor="test", scope=mine)
    curve = Curve(metric="loss", steps=(0, 1), values=(0.5, None), at=(1.0, 2.0))
    bodies = [SentRun(record=record(1), curves=(curve,)), SentRun(record=record(2, pushed=()))]

    async def run() -> list[Any]:
        headers = {"Authorization": f"Bearer {token}"}
        async with TestClient(TestServer(make_app(state, "t")), headers=headers) as client:
            sent = [await client.put(f"/v1/runs/{each.record.id}", data=encode(each)) for each in bodies]
            paths = (f"/{record(1).id}", f"/{record(1).id}/curves?metric=loss", "?q=pump&limit=5", "?wrong=1", "/none")
            read = [await client.get(f"/v1/runs{path}") for path in paths]
            return [(each.status, await each.json()) for each in (*sent, *read)]

    kept, refused, shown, curves, page, wrong, missing = asyncio.run(run())
    assert kept[0] == shown[0] == 200
    assert (refused[0], refused[1]["code"]) == (403, "outside_scope")
    assert (shown[1]["sent_by"], shown[1]["took_s"], shown[1]["record"]["params"]) == ("ada", 10.0, {"depth": "1"})
    assert curves[1][0]["values"] == [0.5, None]
    assert (page[1]["total"], page[1]["runs"][0]["pushed"]) == (1, [["pump", 1]])
    assert (wrong[0], missing[0], missing[1]["code"]) == (422, 404, "unknown_run")
