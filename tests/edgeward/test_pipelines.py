"""Steps of a pipeline run once for each address, in processes with limits; a fault names its step and keeps its log."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import cast

import pytest

from contract.errors import BadInput, Code
from contract.run_record import PushedVersion
from edgeward.cli.pipeline import _say_result
from edgeward.pipelines.checks import check_labels, check_time, validate
from edgeward.pipelines.pipeline import Pipeline, load_pipeline
from edgeward.pipelines.results import Results
from edgeward.pipelines.runner import LOGS, Outputs, PipelineResult, load_steps, run_pipeline
from edgeward.pipelines.schedule import Schedule, read_schedule
from edgeward.pipelines.step import Step, step
from edgeward.pipelines.workers import open_workers
from edgeward.runs.reproduce import reproduce
from edgeward.runs.restore import old_code
from edgeward.runs.store import RunStore

WEATHER = """\
import time
from pathlib import Path
from edgeward import Metrics, Pipeline, step

FACTOR = 2

def scaled(numbers):
    return [FACTOR * each for each in numbers]

@step
def data(source: Path) -> list:
    print("reading", source.name)
    return [float(line) for line in source.read_text().split()]

@step(timeout_s=60, memory_mb=300)
def train(data: list, how: str = "well") -> list:
    print("training", how)
    if how == "raises":
        raise ValueError("no rows fit")
    if how == "leaks":
        held = [bytearray(10_000_000) for _ in range(100)]
        time.sleep(30)
    if how == "lies":
        return 7
    return scaled(data)

@step(timeout_s=60)
def evaluate(train: list, pause_s: float = 0.0) -> Metrics:
    time.sleep(pause_s)
    return {"mean": sum(train) / len(train)}

weather = Pipeline("weather", [evaluate, train, data])
"""

WITH_FRAMES = """\
from pathlib import Path
import pandas as pd
from edgeward import Pipeline, step

@step
def data(source: Path) -> pd.DataFrame:
    return pd.DataFrame({"x": [float(each) for each in source.read_text().split()]})

@step
def train(data: pd.DataFrame) -> float:
    return float(data["x"].sum())

weather = Pipeline("weather", [data, train])
"""


WITH_PUSH = """\
from pathlib import Path
from edgeward import Pipeline, current_run, step
from contract.run_record import PushedVersion

@step
def data(source: Path) -> str:
    return source.read_text()

@step
def push(data: str) -> int:
    current_run().note_pushed(PushedVersion("rain", 1, "d1"))
    return 1

@step
def start(push: int) -> str:
    if Path("broken").exists():
        raise ValueError("no rollout")
    return f"rollout of v{push}"

@step
def said(start: str) -> str:
    return start

weather = Pipeline("weather", [data, push, start, said])
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("EDGEWARD_RUNS_DIR", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "weather.py").write_text(WEATHER)
    (tmp_path / "rows.txt").write_text("1 2 3")
    return tmp_path


def statuses(run: str) -> dict[str, str]:
    return {each.step: each.status for each in load_steps(RunStore(), run)[1]}


def test_each_step_runs_once_and_only_steps_affected_by_a_change_run_again(place: Path) -> None:
    pipeline = load_pipeline("weather.py")
    assert pipeline.order == ("data", "train", "evaluate")
    first = run_pipeline(pipeline, {"source": "rows.txt"})
    assert statuses(first.run_id) == dict.fromkeys(("data", "train", "evaluate"), "done")
    assert (first.outputs["train"], first.metrics, first.pushed_version) == ([2.0, 4.0, 6.0], {"mean": 4.0}, None)
    assert (RunStore().directory_of(first.run_id) / LOGS / "data.log").read_text() == "reading rows.txt\n"
    (place / "copy.txt").write_text("1 2 3")
    again = run_pipeline(pipeline, {"source": "copy.txt"})  # another name, the same content
    assert set(statuses(again.run_id).values()) == {"known"}
    assert again.metrics == first.metrics
    assert RunStore().load(again.run_id).result == RunStore().load(first.run_id).result


def test_a_push_is_reused_only_for_the_controller_that_has_the_version(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "weather.py").write_text(WITH_PUSH)
    versions: dict[int, str] = {}

    class Controller:
        def version(self, model: str, release: int) -> PushedVersion:
            if release not in versions:
                raise BadInput(Code.UNKNOWN_VERSION, f"{model} has no version {release}")
            return PushedVersion(model, release, versions[release])

    monkeypatch.setattr("edgeward.client.Client", Controller)
    given, others = {"source": "rows.txt"}, {"data": "known"}
    assert run_pipeline("weather.py", given).pushed_now
    versions[1] = "d1"
    again = run_pipeline("weather.py", given)
    assert (again.pushed_version, again.pushed_now) == (1, False)
    assert set(statuses(again.run_id).values()) == {"known"}
    for theirs in ({}, {1: "other bytes"}):
        versions.clear()
        versions.update(theirs)
        elsewhere = run_pipeline("weather.py", given)
        assert elsewhere.pushed_now
        assert statuses(elsewhere.run_id) == others | dict.fromkeys(("push", "start", "said"), "done")
    versions.clear()
    (place / "broken").touch()
    with pytest.raises(BadInput, match="no rollout"):
        run_pipeline("weather.py", given)  # it pushes there, and what follows fails
    versions[1] = "d1"
    (place / "broken").unlink()
    assert statuses(run_pipeline("weather.py", given).run_id)["start"] == "done", "no rollout was started there before"


def test_the_last_line_of_a_run_says_if_its_version_was_pushed_by_an_earlier_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    outputs = cast("Outputs", {})
    for now, words in ((True, "0 steps, pushed v1;"), (False, "0 steps, pushed v1 in an earlier run;")):
        _say_result(PipelineResult("r", outputs, 1, now, {}, ()))
        assert words in capsys.readouterr().out


def test_a_step_that_raises_hangs_leaks_or_returns_a_wrong_type_is_named_and_finished_steps_are_kept(
    place: Path,
) -> None:
    given = {"source": "rows.txt"}
    for how, words in (
        ("raises", "step train raised ValueError: no rows fit; log: edgeward pipeline logs"),
        ("leaks", "step train leaked: it took"),
        ("lies", "step train raised TypeError: it returned int and declares list"),
    ):
        before = set(RunStore().names())
        with pytest.raises(BadInput, match=words) as fault:
            run_pipeline("weather.py", {**given, "how": how})
        assert fault.value.code == Code.PIPELINE_FAILED
        (run,) = set(RunStore().names()) - before  # two runs of one second are in any order
        assert statuses(run) == {
            "data": "done" if how == "raises" else "known",
            "train": "failed",
            "evaluate": "waiting",
        }
        log = (RunStore().directory_of(run) / LOGS / "train.log").read_text()
        assert log.startswith(f"training {how}")
        assert RunStore().load(run).status == "failed"
    (place / "impatient.py").write_text(WEATHER.replace("@step(timeout_s=60)\n", "@step(timeout_s=1.5)\n"))
    with pytest.raises(BadInput, match=r"step evaluate hung: it had not ended after 1.5 s \(timeout_s\)"):
        run_pipeline("impatient.py", {**given, "pause_s": 60})
    assert statuses(run_pipeline("weather.py", given).run_id) == {"data": "known", "train": "known", "evaluate": "done"}


def test_a_run_is_reproduced_by_its_own_pipeline_for_any_way_it_was_started(place: Path) -> None:
    run = run_pipeline("weather.py:weather", {"source": Path("rows.txt"), "how": "so"}).run_id
    entry = RunStore().load(run).entry
    assert entry.arguments == (
        "-m", "edgeward", "pipeline", "run", "weather.py:weather", "-p", "source=rows.txt", "-p", "how=so"
    )  # fmt: skip
    assert (entry.script, entry.directory, entry.ordinal) == (str(place / "weather.py"), str(place), 0)
    assert RunStore().get(entry.script_sha256) == WEATHER.encode()
    told, _ = old_code(RunStore(), RunStore().load(run), place / "old")
    assert told[4].startswith(f"{place / 'old'}{os.sep}"), "the recorded text, not the file as it is now"
    assert told[4].endswith(f"{os.sep}weather.py:weather")


def test_a_run_records_the_libraries_that_only_its_steps_import(place: Path) -> None:
    (place / "weather.py").write_text(WITH_FRAMES.replace("    return float", "    import tinydb\n    return float"))
    script = "from edgeward.pipelines.runner import run_pipeline; run_pipeline('weather.py', {'source': 'rows.txt'})"
    subprocess.run([sys.executable, "-c", script], check=True)
    assert "tinydb" in RunStore().load("newest").environment.used


def test_missing_parts_are_named_before_a_step_runs(place: Path) -> None:
    with pytest.raises(BadInput, match="step data: source: there is no file"):
        run_pipeline("weather.py", {"source": "gone.txt"})
    with pytest.raises(BadInput, match="needs the parameter source for step data"):
        run_pipeline("weather.py")
    with pytest.raises(BadInput, match="has no parameter depth; it has"):
        run_pipeline("weather.py", {"source": "rows.txt", "depth": 3})
    with pytest.raises(BadInput, match="parameter pause_s='long'"):
        run_pipeline("weather.py", {"source": "rows.txt", "pause_s": "long"})
    with pytest.raises(BadInput, match="is no file"):
        load_pipeline("none.py")


def test_two_simultaneous_runs_of_a_pipeline_are_refused(place: Path) -> None:
    results = Results(RunStore())
    with (
        results.alone("weather", "run-1"),
        pytest.raises(BadInput, match="run run-1 of pipeline weather goes on"),
        results.alone("weather", "run-2"),
    ):
        pass
    with results.alone("weather", "run-3"):
        pass


def test_the_address_of_a_step_depends_on_its_code_and_all_that_it_names(place: Path) -> None:
    from edgeward.pipelines.address import code_digest

    def digests(text: str, name: str) -> dict[str, str]:
        (place / f"{name}.py").write_text(text)
        return {each.name: code_digest(each) for each in load_pipeline(f"{name}.py").steps.values()}

    before = digests(WEATHER, "one")
    assert digests(WEATHER.replace("def scaled", "# a comment\n\ndef scaled"), "two") == before
    other_factor = digests(WEATHER.replace("FACTOR = 2", "FACTOR = 3"), "three")
    assert {name for name in before if before[name] != other_factor[name]} == {"train"}


@step
def source() -> list: ...


@step
def wants_text(source: str) -> str: ...


@step
def first(second: int) -> int: ...


@step
def second(first: int) -> int: ...


def test_a_pipeline_whose_steps_do_not_fit_is_refused(place: Path) -> None:
    with pytest.raises(BadInput, match="step wants_text takes source as str, and step source gives list"):
        Pipeline("types", [source, wants_text])
    with pytest.raises(BadInput, match="goes in a circle"):
        Pipeline("circle", [first, second])
    with pytest.raises(BadInput, match="has no type for rows, return"):
        step(lambda_with_a_name)
    with pytest.raises(BadInput, match="is defined inside a function"):
        step(lambda: 1)
    with pytest.raises(BadInput, match="1 to 200 steps"):
        Pipeline("none", [])
    assert isinstance(source, Step)


def lambda_with_a_name(rows): ...  # type: ignore[no-untyped-def]


def test_an_invalid_address_of_workers_is_refused() -> None:
    with pytest.raises(BadInput, match="expected dask://host:port"), open_workers("ray://here"):
        pass


def test_the_next_time_is_computed_from_the_last_one() -> None:
    day = 86_400.0
    assert Schedule(3600).next_after(None, 50.0) == 50.0
    assert Schedule(3600).next_after(100.0, 200.0) == 3700.0
    assert Schedule(3600).next_after(100.0, 99_000.0) == 99_000.0  # times that have passed: one run
    at_three = read_schedule("1d", "03:00")
    assert at_three == Schedule(day, 10_800.0)
    assert at_three.next_after(None, 10 * day) == 10 * day + 10_800
    assert at_three.next_after(None, 10 * day + 20_000) == 11 * day + 10_800
    assert at_three.next_after(10 * day + 10_801, 10 * day + 20_000) == 11 * day + 10_800
    assert at_three.next_after(10 * day + 100, 10 * day + 200) == 10 * day + 10_800
    for every, at in (("5s", ""), ("0m", ""), ("6h", "03:00"), ("1d", "3:00"), ("1d", "24:00")):
        with pytest.raises(BadInput, match="expected"):
            read_schedule(every, at)


def test_contradicting_labels_and_decreasing_times_are_named_by_their_rows() -> None:
    import pandas as pd

    rows = pd.DataFrame({"x": [1, 1, 2], "y": ["a", "b", "a"], "at": [1, 3, 2], "device": ["d", "e", "d"]})
    with pytest.raises(BadInput, match="2 rows have equal inputs and different labels in y: 0, 1"):
        check_labels(rows, "y", inputs=["x"])
    with pytest.raises(BadInput, match="time goes backwards in 1 rows of at: 2"):
        check_time(rows, "at")
    assert check_time(rows, "at", by=["device"]) is rows
    assert check_labels(rows, "y") is rows
    dates = rows.assign(at=pd.to_datetime(rows["at"], unit="D"))
    with pytest.raises(BadInput, match="time goes backwards in 1 rows"):
        check_time(dates, "at")
    with pytest.raises(BadInput, match="there is no column z"):
        check_labels(rows, "z")


def test_rows_that_violate_a_schema_are_named_by_column_rule_and_row() -> None:
    pandera = pytest.importorskip("pandera.pandas", reason="pandera is no part of the development packages")
    import pandas as pd

    schema = pandera.DataFrameSchema({"x": pandera.Column(float, pandera.Check.ge(0)), "y": pandera.Column(str)})
    good = pd.DataFrame({"x": [1.0], "y": ["a"]})
    assert validate(good, schema).equals(good)
    with pytest.raises(BadInput, match=r"x breaks greater_than_or_equal_to\(0\) in 1 rows: 1, as -1.0"):
        validate(pd.DataFrame({"x": [1.0, -1.0], "y": ["a", "b"]}), schema)


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_dask_gives_the_same_digests_and_repeats_a_step_whose_worker_is_killed(place: Path) -> None:
    distributed = pytest.importorskip("distributed", reason="Dask is no part of the development packages")
    import os
    import signal
    import threading

    slow = WEATHER.replace("    print(", "    time.sleep(2)\n    print(")
    (place / "weather.py").write_text(slow.replace("    time.sleep(pause_s)", "    time.sleep(2)"))
    local = run_pipeline("weather.py", {"source": "rows.txt"}, place / "local")
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
    )
    killed: list[str] = []

    def kill(name: str) -> None:
        time.sleep(1.0)
        busy = [each for each, tasks in client.processing().items() if tasks]
        pids = client.run(os.getpid)
        killed.append(name)
        os.kill(pids[busy[0]], signal.SIGKILL)

    def tell(state: object) -> None:
        if getattr(state, "status", "") == "running":
            threading.Thread(target=kill, args=(getattr(state, "step", ""),)).start()

    try:
        client = distributed.Client(cluster)
        on = cluster.scheduler_address.replace("tcp://", "dask://")
        remote = run_pipeline("weather.py", {"source": "rows.txt"}, place / "remote", on=on, tell=tell)
        client.close()
    finally:
        cluster.close()
    assert killed == ["data", "train", "evaluate"]
    assert [each.digest for each in remote.steps] == [each.digest for each in local.steps]
    assert [each.address for each in remote.steps] == [each.address for each in local.steps]


@pytest.mark.soak
def test_a_pipeline_run_is_reproduced_step_by_step_or_its_missing_data_are_named(place: Path) -> None:
    (place / "weather.py").write_text(WITH_FRAMES)
    run_pipeline("weather.py", {"source": "rows.txt"})
    assert reproduce(RunStore(), "newest").same
    (place / "rows.txt").write_text("1 2 4")
    finding = reproduce(RunStore(), "newest").finding
    assert finding is not None
    assert [(each.kind, each.name) for each in finding.causes] == [("data", "data")]
    assert reproduce(RunStore(), "newest", recorded_rows=True).same
