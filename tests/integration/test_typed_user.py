"""The wheel with [client] in a clean environment: the output of a type checker for a short program of a user."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PACKAGES = ("agent", "contract", "controller", "edgeward", "firmware_sim")
PROGRAM = """\
from agent import Predictor
from edgeward import BadInput, Client, EdgewardError, __version__

client = Client()
version = client.push(b"", name="m", sample=[[0.0]])
handle = client.rollout("m", release=version.release)
try:
    ended = handle.wait(timeout_s=5.0)
except BadInput as error:
    reveal_type(error.code)
reveal_type(__version__)
reveal_type(EdgewardError)
reveal_type(Predictor)
reveal_type(version.created_at)
reveal_type(version.lineage.tags)
reveal_type(ended.members[0].outcome)
reveal_type(client.devices())
reveal_type(client.devices()[0].models[0].serving)
reveal_type(client.captured("m")[0].row.inputs)
reveal_type(client.why("d").sentences)
reveal_type(client.plan("m").waves)
reveal_type(client.trust().roles[0].expires)
reveal_type([event.data for event in client.events()])
"""
MISTAKE = """\
from edgeward import Client

Client().devices()[0].presense
"""


@pytest.mark.timeout(400)
def test_a_user_program_is_typed_without_any_and_a_misspelling_is_found(tmp_path: Path) -> None:
    wheel = build(tmp_path)
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(zipfile.ZipFile(wheel).namelist())
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    options = ["--quiet", "--disable-pip-version-check", "--no-compile"]  # mypy reads sources and runs none of them
    pip = [sys.executable, "-m", "pip", "--python", str(venv / "bin" / "python"), "install", *options]
    pins = ["-c", str(ROOT / "requirements" / "dev.txt")]
    subprocess.run([*pip, *pins, f"{wheel}[client]", "mypy"], check=True, capture_output=True)

    checked = check(venv, tmp_path, PROGRAM)
    revealed = re.findall(r'Revealed type is "(.*)"', checked.stdout)
    assert checked.returncode == 0, checked.stdout
    assert len(revealed) == PROGRAM.count("reveal_type")
    assert not [kind for kind in revealed if re.search(r"\bAny\b", kind)], checked.stdout
    found = check(venv, tmp_path, MISTAKE)
    assert '"Device" has no attribute "presense"' in found.stdout
    imported = subprocess.run(
        [str(venv / "bin" / "python"), "-c", "from edgeward import BadInput, Client, EdgewardError, __version__"],
        cwd=tmp_path,
    )
    assert imported.returncode == 0


def build(directory: Path) -> Path:
    """Builds the wheel of this source tree and returns its path."""
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(directory), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return next(directory.glob("*.whl"))


def check(venv: Path, directory: Path, program: str) -> subprocess.CompletedProcess[str]:
    """Returns the output of mypy for a program in its own environment."""
    (directory / "program.py").write_text(program)
    command = [str(venv / "bin" / "mypy"), "--strict", "program.py"]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True)
