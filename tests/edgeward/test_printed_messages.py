"""Messages while a command runs or fails: a line for each change, and no traceback of a library."""

import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from click.testing import CliRunner

from agent.config import Config
from contract.errors import BadInput, Code, WorldError
from edgeward.answers.answer import Sentences
from edgeward.answers.rollouts import Rollout
from edgeward.cli import device_life, rollout
from edgeward.cli.main import cli
from edgeward.cli.pushed_file import load
from edgeward.cli.render import duration
from edgeward.rollout_handle import RolloutHandle

ROOT = Path(__file__).parents[2]
AWAY = WorldError(Code.CONTROLLER_UNREACHABLE, "nobody answers")


def view(status: str, **changed: Any) -> Rollout:
    plain = {
        "id": "r-1", "model": "m", "release": 2, "strategy": "canary", "status": status, "wave": 0, "waves": 2,
        "open": status == "running", "reason": "", "counts": {"pending": 3}, "verdicts": [], "members": [],
        "left_low_s": 0.0, "left_high_s": 0.0,
        "failed": [], "progress": [], "left_s": 0.0, "left": "", "waits_for": "", "exposure": None, "devices": 3,
        "transfer": {"done_bytes": 0, "total_bytes": 0, "bytes_s": 0.0, "eta_s": None}, "excluded": {},
        "created_at": "2026-01-02T03:04:05+00:00", "created_by": "ada", "plan_digest": "", "approved_by": "",
        "proposers": [], "retry_of": "", "schedule": "",
    }  # fmt: skip
    return Rollout.read({**plain, **changed})


class Handle:
    """A rollout that changes twice and is read five times."""

    id = "r-1"

    def __init__(self) -> None:
        self.views = [view("running"), view("running"), view("running", counts={"succeeded": 1, "pending": 2})]
        self.views += [self.views[-1], view("rolled_back", reason="failed_ratio: 1 of 3")]

    def show(self) -> Rollout:
        return self.views[0]

    def watch(self) -> Any:
        yield from self.views


def test_an_unchanged_rollout_says_after_20_s_what_it_waits_for_and_again_when_that_changes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    head, wave, asked = "r-1 brings m v2 by s.", "Wave 1 of 2.", [0]
    waits = ["It waits for a.", "It soaks for 40 s more.", "It soaks for 20 s more.", AWAY, *["Rule x cannot say."] * 9]

    def explain(_: Handle) -> Sentences:
        asked[0] += 1
        said = waits[asked[0] - 1]
        if isinstance(said, WorldError):
            raise said
        return Sentences(sentences=(head, wave, said))

    monkeypatch.setattr(Handle, "watch", lambda self: iter([view("running")] * 201))
    monkeypatch.setattr(Handle, "explain", explain, raising=False)
    moments = iter(float(second) for second in range(999))
    monkeypatch.setattr(rollout, "time", SimpleNamespace(monotonic=lambda: next(moments)))
    rollout._follow_in_lines(cast("RolloutHandle", Handle()))
    first, *later = capsys.readouterr().out.splitlines()
    assert first.endswith("3 pending")
    words = ["It waits for a.", "It soaks for 40 s more.", "Rule x cannot say.", "Rule x cannot say."]
    assert [line.partition("; ")[2] for line in later] == words, "the last one once more, a minute later"


def test_a_watched_rollout_in_a_pipe_prints_one_line_for_each_change(monkeypatch: pytest.MonkeyPatch) -> None:
    class Client:
        def open_rollout(self, _: str) -> Handle:
            return Handle()

    monkeypatch.setattr(rollout, "Client", Client)
    done = CliRunner().invoke(cli, ["rollout", "watch", "r-1"])
    assert done.exit_code == 1
    assert [line.split(" ", 1)[1] for line in done.output.splitlines()] == [
        "r-1 m v2 running, wave 1 of 2: 3 pending",
        "r-1 m v2 running, wave 1 of 2: 1 succeeded, 2 pending",
        "r-1 m v2 rolled_back, wave 1 of 2: 3 pending; failed_ratio: 1 of 3",
    ]


def test_a_strategy_without_a_name_has_a_hint_about_its_files(tmp_path: Path) -> None:
    file = tmp_path / "careful.toml"
    file.write_text("[[waves]]\npercent = 100\n")
    assert rollout.read_strategy(str(file)) == {"name": "careful", "waves": [{"percent": 100}]}


def test_a_users_file_imports_neighbouring_files_as_python_does(tmp_path: Path) -> None:
    (tmp_path / "beside_the_script.py").write_text("ROWS = [[1.0]]\n")
    file = tmp_path / "train.py"
    file.write_text("import beside_the_script\nmodel, sample = 1, beside_the_script.ROWS\n")
    assert load(file, None) == (1, [[1.0]])


@pytest.mark.parametrize(
    ("text", "what", "lines"),
    [
        (
            "import numpy as np\ndef fit():\n    np.linalg.inv(np.zeros((2, 2)))\n\nfit()\n",
            "LinAlgError: Singular",
            2,
        ),
        ("model = = 3\n", "SyntaxError", 0),
    ],
)
def test_an_error_in_a_users_file_shows_the_users_lines(tmp_path: Path, text: str, what: str, lines: int) -> None:
    file = tmp_path / "train.py"
    file.write_text(text)
    with pytest.raises(BadInput) as caught:
        load(file, None)
    said = caught.value.detail
    assert f"{file} has failed: " in said
    assert what in said
    assert [line.split(":")[1] for line in said.splitlines() if line.startswith(f"  {file}:")] == ["5", "3"][:lines]
    assert "site-packages" not in said


@pytest.mark.parametrize(
    ("seconds", "words"), [(20, "20 s"), (119, "119 s"), (1200, "20 min"), (7300, "2 h"), (8e5, "9 d")]
)
def test_a_duration_is_printed_in_a_fitting_unit(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_the_list_of_manual_settings_of_a_replacement_is_all_that_enrolment_does_not_write() -> None:
    written = {"device", "broker", "trust", "enrolment"}
    for table in {field.name for field in msgspec.structs.fields(Config)} - written:
        assert f"[{table}]" in device_life._NOT_KEPT


def test_the_example_reports_a_wrong_cell_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    ask = runpy.run_path(str(ROOT / "examples" / "ask.py"))
    assert ask["cell"]("kitchen", {"name": "room", "datatype": "BYTES"}) == "kitchen"
    assert ask["cell"]("true", {"name": "door", "datatype": "BOOL"}) is True
    with pytest.raises(SystemExit, match="size: 'large' is not an FP32"):
        ask["cell"]("large", {"name": "size", "datatype": "FP32"})
    assert [ask["cell"](text, {"name": "open", "datatype": "INT64"}) for text in ("true", "False", "7")] == [1, 0, 7]
    with pytest.raises(SystemExit, match="open: 'ajar' is not an INT64"):
        ask["cell"]("ajar", {"name": "open", "datatype": "INT64"})
    example = [sys.executable, ROOT / "examples" / "ask.py"]
    done = subprocess.run(example, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: ask.py [-h] [--url URL] model cell")
    elsewhere = [*example, "--url", "http://127.0.0.1:1", "rain", "-3.5"]
    done = subprocess.run(elsewhere, capture_output=True, text=True, check=False)
    assert done.stderr.startswith("http://127.0.0.1:1/v2/models/rain: "), "the device that was named, not port 8190"
