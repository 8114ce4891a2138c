"""A run is stored while it runs, is marked broken after kill -9, and its repetition names the changes."""

import itertools
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import edgeward
from contract.errors import BadInput, WorldError
from contract.run_compare import compare
from contract.run_differences import Difference
from contract.run_record import Point, Record
from edgeward.runs.digest import value_digest
from edgeward.runs.factors import find_causes
from edgeward.runs.plot import picture, series_of, write_png
from edgeward.runs.reproduce import reproduce
from edgeward.runs.run import current_run
from edgeward.runs.store import METRICS, RunStore

SCRIPT = """\
import numpy, edgeward
with edgeward.run("dot") as run:
    numbers = run.log_data(numpy.loadtxt("rows.csv", ndmin=2), "rows")
    draw = numpy.random.default_rng(run.seed(3)).standard_normal(1_000_000)
    total = float(numpy.dot(draw, draw)) + float(numbers.sum())
    try:
        import planted
        total += planted.NUMBER
    except ImportError:
        pass
    run.artifact(repr(total).encode(), "total")
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("EDGEWARD_RUNS_DIR", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "dot.py").write_text(SCRIPT)
    (tmp_path / "rows.csv").write_text("1\n2\n")
    return tmp_path


def perform() -> None:
    subprocess.run([sys.executable, "dot.py"], check=True)


def test_a_run_stores_given_and_detected_values(place: Path) -> None:
    rows = np.arange(6.0).reshape(3, 2)
    with edgeward.run("first", params={"depth": 3}) as run:
        run.log_metrics({"loss": 2.0})
        run.log_metric("loss", 1.0)
        assert run.log_data(rows, "train") is rows
        run.artifact(b"hello", "greeting.txt")
        assert current_run() is run
    record = RunStore().load("newest")
    assert (record.status, record.params, record.metrics) == ("finished", {"depth": "3"}, {"loss": 1.0})
    assert (record.data[0].rows, record.data[0].columns) == (3, {"": "float64[2]"})
    assert RunStore().get(record.artifacts[0].sha256) == b"hello"
    assert record.environment.packages["numpy"] == np.__version__
    assert "numpy" in record.environment.used
    assert [(point.step, point.value) for point in RunStore().points(record.id)] == [(0, 2.0), (1, 1.0)]


def test_a_run_that_raises_is_failed_with_the_exception(place: Path) -> None:
    with pytest.raises(ZeroDivisionError), edgeward.run("wrong"):
        _ = 1 / 0
    record = RunStore().load("newest")
    assert (record.status, record.error) == ("failed", "ZeroDivisionError: division by zero")
    assert current_run() is None


def test_a_run_whose_process_is_killed_is_broken_and_keeps_its_numbers(place: Path) -> None:
    script = "import edgeward, time\nwith edgeward.run('long') as run:\n  run.log_metric('loss', 1.0)\n  time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", script]) as child:
        store = RunStore()
        while not (store.names() and store.points(store.names()[0])):
            assert child.poll() is None
        assert store.load("newest").status == "running"
        child.send_signal(signal.SIGKILL)
    record = store.load("newest")
    assert record.status == "broken"
    path = store.directory_of(record.id) / METRICS
    path.write_bytes(path.read_bytes() + b'["loss",1,0.')  # torn by a power cut
    assert [point.value for point in store.points(record.id)] == [1.0]


def test_a_run_is_found_by_a_prefix_of_its_id_and_an_unknown_one_is_reported(place: Path) -> None:
    for _ in range(2):
        with edgeward.run("one"):
            pass
    store = RunStore()
    assert store.find(store.names()[0]) == store.names()[0]
    with pytest.raises(BadInput, match="2 runs begin so"):
        store.find("2")
    with pytest.raises(BadInput, match="edgeward run list"):
        store.load("x")


def test_a_changed_blob_is_reported(place: Path) -> None:
    store = RunStore()
    digest = store.put(b"one")
    (store.directory / "blobs" / digest).write_bytes(b"two")
    with pytest.raises(WorldError, match="digest_mismatch"):
        store.get(digest)


def test_equal_values_have_equal_digests_and_others_do_not() -> None:
    padded = np.zeros(2, dtype=np.dtype([("a", "u1"), ("b", "f8")], align=True))
    other = padded.copy()
    other.view(np.uint8)[1] = 7  # between the fields: whatever was in memory
    assert value_digest(padded) == value_digest(other)
    assert value_digest({"a": [1, 2.0, None]}) == value_digest({"a": [1, 2.0, None]})
    different = [1, 1.0, True, "1", b"1", [1], (1,), {1}, {"1": 1}, np.int64(1), np.array([1]), np.array([1.0])]
    assert len({value_digest(each) for each in different}) == len(different)
    loop: list[object] = []
    loop.append(loop)
    assert value_digest(loop) == value_digest(loop)


@pytest.mark.parametrize("count", range(1, 4))
def test_exactly_the_real_causes_are_named(count: int) -> None:
    kinds = ("code", "data", "library", "threads", "kernel", "seed")
    found = [Difference(kind, f"{kind}{number}", "1", "2") for kind in kinds for number in range(2)]
    for causes in itertools.combinations(found, count):

        def repeats(restored: Sequence[Difference], causes: Sequence[Difference] = causes) -> bool:
            return set(causes) <= set(restored)

        finding = find_causes(found, repeats)
        assert set(finding.causes) == set(causes)
        assert set(finding.innocent) == set(found) - set(causes)


def test_a_difference_that_explains_nothing_is_not_called_a_cause() -> None:
    finding = find_causes([Difference("seed", "seed", "1", "2")], lambda restored: False)
    assert (finding.causes, finding.restored_repeats) == ((), False)


def test_a_repetition_has_the_same_digest_or_names_the_data(place: Path) -> None:
    perform()
    assert reproduce(RunStore(), "newest").sentences()[0].startswith("same digest")
    (place / "rows.csv").write_text("1\n2\n5\n")
    found = reproduce(RunStore(), "newest")
    assert not found.same
    assert found.finding is not None
    assert [(each.kind, each.name) for each in found.finding.causes] == [("data", "rows")]
    assert len(RunStore().names()) == 1  # repetitions are no runs of their own


@pytest.mark.soak
def test_library_threads_code_and_seed_are_each_named_as_the_cause(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheels = planted_library(place)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.setenv("PYTHONPATH", str(place / "site"))
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")
    install(wheels, "1.0", place / "site")
    perform()
    causes = {}
    install(wheels, "2.0", place / "site")
    causes["library"] = reproduce(RunStore(), "newest").finding
    install(wheels, "1.0", place / "site")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    causes["threads"] = reproduce(RunStore(), "newest").finding
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")
    (place / "dot.py").write_text(SCRIPT.replace("numbers.sum()", "numbers.mean()"))
    causes["code"] = reproduce(RunStore(), "newest").finding
    (place / "dot.py").write_text(SCRIPT.replace("run.seed(3)", "run.seed(4)"))
    causes["seed"] = reproduce(RunStore(), "newest").finding
    for kind, finding in causes.items():
        assert finding is not None
        assert {each.kind for each in finding.causes} == {kind}, kind


def planted_library(place: Path) -> Path:
    """Makes a folder with two wheels of one library with different version numbers."""
    import zipfile

    wheels = place / "wheels"
    wheels.mkdir()
    for version in ("1.0", "2.0"):
        about = f"planted-{version}.dist-info"
        files = {
            "planted.py": f"NUMBER = {version}\n",
            f"{about}/METADATA": f"Metadata-Version: 2.1\nName: planted\nVersion: {version}\n",
            f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{about}/top_level.txt": "planted\n",
        }
        listed = "".join(f"{name},,\n" for name in (*files, f"{about}/RECORD"))
        with zipfile.ZipFile(wheels / f"planted-{version}-py3-none-any.whl", "w") as wheel:
            for name, text in (files | {f"{about}/RECORD": listed}).items():
                wheel.writestr(name, text)
    return wheels


def install(wheels: Path, version: str, to: Path) -> None:
    import shutil

    shutil.rmtree(to, ignore_errors=True)
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(to), f"planted=={version}"]
    subprocess.run(command, check=True)


def test_a_run_without_a_result_or_made_by_hand_says_why_it_cannot_be_reproduced(place: Path) -> None:
    with edgeward.run("empty"):
        pass
    with pytest.raises(BadInput, match="nothing to compare"):
        reproduce(RunStore(), "newest")


def test_two_runs_are_compared_by_results_metrics_and_parameters() -> None:
    def record(**fields: object) -> Record:
        return Record(id="1", name="n", status="finished", started_at=0.0, **fields)  # type: ignore[arg-type]

    before = record(params={"depth": "3"}, metrics={"loss": 1.0})
    rows = compare(before, record(params={"depth": "4"}, metrics={"loss": 1.0}))
    assert [(each.what, each.before, each.after) for each in rows] == [("param depth", "3", "4")]
    assert compare(before, before) == []


def test_a_plot_in_text_shows_the_extremes_and_fits_its_columns() -> None:
    points = [Point("loss", step, 1 / (step + 1), 0.0) for step in range(100)] + [Point("loss", 100, float("nan"), 0.0)]
    series = series_of(points)
    lines = picture(series["loss"], columns=60)
    assert all(len(line) <= 60 for line in lines)
    assert lines[0].split()[0] == "1"
    assert lines[9].split()[0] == "0.01"
    assert picture([(0.0, 5.0)], columns=40)  # one number has no spread


def test_labels_of_a_plot_in_text_differ_where_the_numbers_do_and_are_not_cut() -> None:
    lines = picture([(1_000_000.0, 0.912341), (1_000_001.0, 0.912342)], columns=60)
    assert (lines[0].split()[0], lines[9].split()[0]) == ("0.912342", "0.912341")
    assert lines[-1].split() == ["1000000", "1000001"]
    assert all(len(line) <= 60 for line in lines)
    assert [line.split()[0] for line in picture([(1.0, 5.0), (2.0, 5.0)], columns=40)[:-1]] == ["5", *["┤"] * 9]


def test_a_plot_without_matplotlib_names_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(BadInput, match=r"pip install 'edgeward\[plots\]'"):
        write_png({"loss": {"run": [(0.0, 1.0)]}}, tmp_path / "loss.png")


def test_a_plot_is_a_png(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is no part of the development packages")
    write_png({"loss": {"run": [(0.0, 1.0), (1.0, 0.5)]}}, tmp_path / "loss.png")
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")
