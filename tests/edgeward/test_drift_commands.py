"""`edgeward model drift | fairness`, `label` and `telemetry`, over the API of a controller in the same process."""

import io
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from rich.console import Console

from contract.captured import Captured, CapturedRow
from contract.distributions import CONFIDENCE_EDGES, count, edges_of, reference_of
from contract.errors import BadInput, Code
from contract.golden import join_golden
from contract.messages import Heartbeat, ModelInterval, VersionRef
from contract.row_contract import allowed_of
from contract.tensors import encode_tensors
from controller.config import Config, StorageConfig
from controller.convert.convert import Converted
from controller.fleet.vitals import Vitals
from controller.state import State, open_state
from controller.telemetry.counts import Counted
from controller.verbs import push as push_verb
from edgeward.answers.table import Table
from edgeward.cli import device_vitals, drift, label, render, telemetry
from edgeward.cli.device_vitals import bars
from edgeward.cli.drift import bar
from edgeward.cli.main import cli
from edgeward.client import Client
from edgeward.transport import Transport
from tests.controller.heard import hear
from tests.controller.registry_worlds import converted, files_of, pushed
from tests.controller.test_api import HARDWARE, call

DAY_S, WEEK_S = 86_400.0, 7 * 86_400.0
RANDOM = np.random.default_rng(0)
COLUMNS = {name: RANDOM.normal(size=1000) for name in ("a", "b", "c")}
SURE = RANDOM.uniform(0.5, 1.0, 1000)


def with_reference() -> Converted:
    """A conversion whose golden set has a reference and a data contract."""
    golden = join_golden({"X": np.zeros((8, 3))}, {"label": np.zeros(8)})
    golden |= reference_of(COLUMNS, SURE, regression=False) | allowed_of(COLUMNS)
    return Converted(forms={"": files_of(b"onnx", encode_tensors(golden))}, answer=converted().answer)


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[State]:
    made = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path / "data"))))
    monkeypatch.setattr(made.deliveries, "begin", lambda model, manifest: None)

    async def run_conversion(*_: object, **__: object) -> Converted:
        return with_reference()

    monkeypatch.setattr(push_verb, "run_conversion", run_conversion)
    pushed(made, tmp_path)
    for name in ("dev-1", "dev-2"):
        hear(made, Heartbeat(device=name, protocol=1, boot=1, seq=1, uptime_s=1, hardware=HARDWARE))
    yield made
    made.close()


@pytest.fixture
def edgeward(state: State, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a command against the controller and returns its output in 80 columns."""

    def answered(method: str, path: str, **options: Any) -> Any:
        status, body = call(state, method, path, **options)
        if status >= 400:
            raise BadInput(Code(body["code"]), body["detail"])
        return body

    monkeypatch.setattr(Transport, "get", lambda self, path, also=(): answered("GET", path))
    monkeypatch.setattr(Transport, "post", lambda self, path, body=None: answered("POST", path, json=body or {}))
    monkeypatch.setenv("EDGEWARD_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("EDGEWARD_TOKEN", "t")

    def run(*words: Any, fails: bool = False) -> str:
        said = io.StringIO()
        for module in (device_vitals, drift, label, render, telemetry):
            monkeypatch.setattr(module, "console", Console(file=said, width=80), raising=False)
            monkeypatch.setattr(module, "tell", lambda text: said.write(text + "\n"), raising=False)
        done = CliRunner().invoke(cli, [*map(str, words)])
        if fails:
            assert isinstance(done.exception, BadInput), done.output
            return str(done.exception)
        assert done.exception is None, done.exception
        return said.getvalue() + done.output

    return run


def week_of(device: str, at: int, *, shift: float = 0.0, broken: int = 0) -> Counted:
    """What a device counted in one week, `at` weeks ago, in one message."""
    random = np.random.default_rng([at, len(device), ord(device[-1])])
    features = {
        name: tuple(count(random.normal(shift * (name == "b"), 1, 400), edges_of(values)).tolist())
        for name, values in COLUMNS.items()
    }
    sure = count(random.uniform(0.5, 1.0, 400), np.array(CONFIDENCE_EDGES))
    interval = ModelInterval(
        model="m",
        version=VersionRef(release=1, digest=""),
        inferences=400,
        errors=0,
        features=features,
        outputs=tuple(sure.tolist()),
        predictions={"0": int(random.binomial(400, 0.5)), "1": 200},
        breaches={"c": (0, broken, 0, 0)} if broken else {},
        groups={
            "side=left": (200, 100, 0, 0, 0, 0),
            "side=right": (200, 60, 0, 0, 0, 0),
            "side=odd": (2, 2, 0, 0, 0, 0),
        },
    )
    return Counted(device, 1, at + 1, time.time() - at * WEEK_S - 3600.0, interval)


def capture(state: State, weeks: int, *, labelled: bool) -> None:
    """Twenty rows a week with the fleet's confidence; the confidence is the fraction of right answers."""
    random = np.random.default_rng(5)
    for week in range(weeks):
        rows = []
        for _ in range(40):
            sure = float(random.uniform(0.5, 1.0))
            label = ("1" if random.random() < sure else "0") if labelled else None
            at = time.time() - week * WEEK_S - 7200.0
            rows.append(
                CapturedRow(at=at, model="m", release=1, why="sampled", inputs={"a": 1.0, "b": 2.5, "c": -3.0},
                            value="1", confidence=sure, label=label)
            )  # fmt: skip
        state.captures.keep([("dev-1", Captured(protocol=1, device="dev-1", boot=1, seq=week + 1, rows=tuple(rows)))])


def test_drift_of_a_model_that_no_device_runs_is_an_empty_report_and_no_error(edgeward: Any) -> None:
    said = edgeward("model", "drift", "m")
    assert "Nothing can be told yet: no device has rows now and in an earlier block." in said
    assert "Estimated accuracy: unknown" in said
    assert "No groups were counted." in edgeward("model", "fairness", "m")
    assert "unknown_model" in edgeward("model", "drift", "none", fails=True)
    assert "expected 1 to 28" in edgeward("model", "drift", "m", "--days", "0", fails=True)


def test_moved_columns_are_ranked_beside_the_limit_of_the_past_in_80_columns(state: State, edgeward: Any) -> None:
    state.telemetry.keep(
        [week_of(name, at, shift=1.0 * (at == 0), broken=40) for name in ("dev-1", "dev-2") for at in range(14)]
    )
    capture(state, 14, labelled=True)
    said = edgeward("model", "drift", "m@1")
    assert "b moved most" in " ".join(said.split())
    assert "Its own weeks moved by" in " ".join(said.split())
    first = next(line for line in said.splitlines() if line.startswith("b ") and "moved" not in line)
    assert ">" in first
    assert max(map(len, said.splitlines())) <= 80
    assert "Estimated accuracy without labels: 0.7" in said
    assert "out of range" in said
    assert "dev-1" in edgeward("model", "drift", "m", "--by", "device")
    assert "x86_64" in edgeward("model", "drift", "m", "--by", "stratum")
    found = Client().drift("m")
    frame = Table([found]).to_frame()
    assert frame["what"][0] == "b"
    assert bool(frame["beyond"][0])
    kinds = {each.kind: each for each in Client().signals("m")}
    assert kinds["estimated_quality"].value == pytest.approx(0.75, abs=0.1)
    assert (kinds["contract_breach_ratio"].of, kinds["contract_breach_ratio"].limit) == ("c out_of_range", 0.01)
    assert kinds["drift"].limit is None
    assert json.loads(edgeward("model", "drift", "m", "--json"))["says"] == found.says


def test_fairness_has_the_names_of_fairlearn_and_small_groups_are_not_shown(state: State, edgeward: Any) -> None:
    state.telemetry.keep([week_of(name, 0) for name in ("dev-1", "dev-2")])
    said = edgeward("model", "fairness", "m")
    assert "demographic_parity_difference: 0.200 [" in said
    assert "1 groups have fewer than 30 rows and are not shown." in said
    assert "odd" not in said
    assert Table([Client().fairness("m")]).to_frame()["group"].tolist() == ["left", "right"]


def test_a_removed_device_leaves_no_shape_and_minutes_become_hours(state: State) -> None:
    store = state.telemetry
    store.keep([week_of("dev-1", 0), week_of("dev-2", 0)])
    before = {device: shape for device, _, _, shape in store.shapes("m", 0.0)}
    store.tend(time.time() + DAY_S)
    rolled = {device: shape for device, _, _, shape in store.shapes("m", 0.0)}
    assert rolled == before
    store.drop("dev-1")
    assert [device for device, *_ in store.shapes("m", 0.0)] == ["dev-2"]


def test_twenty_rows_a_day_are_asked_for_and_given_labels_are_durable_and_audited(
    state: State, edgeward: Any, tmp_path: Path
) -> None:
    assert "[[capture]]" in edgeward("label", "next", "m")
    capture(state, 1, labelled=False)
    said = edgeward("label", "next", "m")
    assert "20 rows need a label today" in said
    assert max(map(len, said.splitlines())) <= 80
    row = Client().labels_wanted("m").rows[0]
    assert "1 of 1 rows of m have a label now" in edgeward("label", "give", f"m/{row.id}", "0")
    file = tmp_path / "rows.csv"
    edgeward("label", "next", "m", "--csv", file)
    rows = pd.read_csv(file, dtype=str)
    assert len(rows) == 19
    assert row.id not in {int(name.partition("/")[2]) for name in rows["id"]}
    rows.loc[:17, "label"] = "1"
    rows.to_csv(file, index=False)
    assert "18 of 18 rows of m have a label now" in edgeward("label", "give", "--csv", file)
    assert "1 row needs" in edgeward("label", "next", "m")
    last = Client().labels_wanted("m").rows[0]
    bare = tmp_path / "bare.csv"
    bare.write_text(f"id,label\n{last.id},1\n")
    edgeward("label", "give", "--csv", bare, "--model", "m")
    assert "Done for today: 20 labels of m were given." in edgeward("label", "next", "m")
    deeds = call(state, "GET", "/v1/audit")[1]
    assert [each["detail"] for each in deeds if each["action"] == "rows label"][-1] == "1 of 1 rows"


def test_a_label_for_no_row_is_refused_in_words() -> None:
    for words in (("give",), ("give", "m/1"), ("give", "m", "x"), ("give", "m/x", "x"), ("give", "/1", "x")):
        with pytest.raises(BadInput, match="expected MODEL/ID"):
            CliRunner().invoke(cli, ["label", *words], catch_exceptions=False)


def test_an_invalid_label_sets_no_label_at_all(state: State, edgeward: Any) -> None:
    capture(state, 1, labelled=False)
    first, second = (row.id for row in Client().labels_wanted("m").rows[:2])
    with pytest.raises(BadInput, match="is no label"):
        Client().label("m", {first: "1", second: " "})
    assert state.captures.labelled("m", 10) == []
    with pytest.raises(BadInput, match="no model"):
        Client().label("none", {first: "1"})


def test_a_full_bar_marks_the_limit_of_the_past() -> None:
    assert (bar(0.05, 0.1), bar(0.1, 0.1), bar(0.2, 0.1), bar(0.5, None)) == (
        "█████·····", "██████████", "█████████>", "█████·····",
    )  # fmt: skip


def test_telemetry_is_printed_and_exported_and_an_empty_measure_is_a_number(
    state: State, edgeward: Any, tmp_path: Path
) -> None:
    state.telemetry.keep([week_of("dev-1", 0)])
    assert "400" in edgeward("telemetry", "query", "m", "--by", "device")
    assert json.loads(edgeward("telemetry", "query", "m", "--json"))[0]["inferences"] == 400
    for suffix, read in (("csv", pd.read_csv), ("parquet", pd.read_parquet)):
        out = tmp_path / f"rows.{suffix}"
        assert "1 rows in" in edgeward("telemetry", "export", "m", "--out", out)
        rows = read(out)
        assert (rows["inferences"].tolist(), str(rows["mean_absolute_error"].dtype)) == ([400], "float64")
    assert "expected .csv or .parquet" in edgeward("telemetry", "export", "m", "--out", "rows.xlsx", fails=True)


def test_parquet_without_pyarrow_names_the_command_that_installs_it(
    state: State, edgeward: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state.telemetry.keep([week_of("dev-1", 0)])
    for name in ("pyarrow", "fastparquet"):
        monkeypatch.setitem(sys.modules, name, None)
    said = edgeward("telemetry", "export", "m", "--out", tmp_path / "rows.parquet", fails=True)
    assert "pip install 'edgeward[parquet]'" in said


def test_the_vitals_of_a_device_are_bars_in_80_columns_and_rows_in_csv(state: State, edgeward: Any) -> None:
    assert "dev-2 has reported nothing about itself in the newest 24 hours" in edgeward("device", "vitals", "dev-2")
    now, lost = time.time(), float("nan")
    for number in range(240):
        means = (0.2 + number / 1000, 90.0, lost, 12_345.678, 0.00012, 11.31)
        state.vitals.keep([("dev-1", Vitals(now - 86_000 + 300 * number, 300.0, 5, means, means, means))])
    said = edgeward("device", "vitals", "dev-1")
    assert max(map(len, said.splitlines())) <= 80
    assert "CPU %" in said
    assert "43.9" in said
    assert "temp" not in said, "what a device does not measure is left out"
    found = json.loads(edgeward("device", "vitals", "dev-1", "--json"))
    assert (len(found), found[0]["temperature_c"], found[0]["rss_mb"]["mean"]) == (240, None, 90.0)
    lines = edgeward("device", "vitals", "dev-1", "--hours", 2, "--csv").splitlines()
    assert lines[0].startswith("at,span_s,messages,cpu_ratio_mean,cpu_ratio_low")
    assert "dev-3" in edgeward("device", "vitals", "dev-3", fails=True)


def test_bars_have_a_gap_without_messages() -> None:
    assert bars([(0.0, 1.0, 1.0), (31.0, 32.0, 5.0)], 0.0, 32.0) == "▁" + " " * 30 + "█"
    assert bars([(0.0, 16.0, 2.0), (16.0, 32.0, 3.0)], 0.0, 32.0) == "▁" * 16 + "█" * 16, "an hour may fill columns"
    assert bars([(0.0, 32.0, 2.0)], 0.0, 32.0) == "▁" * 32
