"""kill -9 at random moments of a first start, controller and broker together: the next start always succeeds."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.broker
SEED = 21

_LIVES = """
import json, os, signal, sys, time, traceback, urllib.error, urllib.request
from pathlib import Path
from random import Random
from controller.broker.configurations import free_port
from controller.cli import run

root, kind, moments, rng = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), Random(int(sys.argv[4]))

def begin(home):
    child = os.fork()
    if child == 0:
        log = os.open(home / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1), os.dup2(log, 2)
        try:
            os._exit(run(["run", "-c", str(home / "controller.toml")]))
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    return child

def healthy(home):
    try:
        url = json.loads((home / "data" / "controller.json").read_text())["url"]
        return urllib.request.urlopen(url + "/v1/health", timeout=2).status == 200
    except (OSError, ValueError):
        return False

def await_(look, within_s, child=None):
    until = time.monotonic() + within_s
    while time.monotonic() < until and not look():
        if child is not None and os.waitpid(child, os.WNOHANG)[0]:
            return False
        time.sleep(0.005)
    return look()

for number in range(moments):
    home = root / str(number)
    home.mkdir()
    tls = kind == "mosquitto" and number % 2
    (home / "controller.toml").write_text(
        f'[storage]\\ndata_dir = "{home}/data"\\n[api]\\nport = 0\\n[fleet]\\nreconcile_s = 0.1\\n'
        f'[broker]\\nurl = "{kind}"\\nport = {free_port()}\\ntls = {str(bool(tls)).lower()}\\n'
    )
    first = begin(home)
    await_(lambda: (home / "data").exists(), 20)
    after_s = rng.uniform(0.0, 0.6) ** 2 / 0.6
    time.sleep(after_s)
    os.kill(first, signal.SIGKILL)
    os.waitpid(first, 0)
    there = len([path for path in (home / "data").rglob("*") if path.is_file()])
    (home / "data" / "controller.json").unlink(missing_ok=True)
    second = begin(home)
    well = await_(lambda: healthy(home), 40, second)
    if well:
        os.kill(second, signal.SIGTERM)
        os.waitpid(second, 0)
    told = {"number": number, "after_s": round(after_s, 4), "files": there, "well": well}
    if not well:
        told["log"] = (home / "log").read_text()[-1500:]
    print(json.dumps(told), flush=True)
"""
"""Forks each controller from one process that has imported it: a start takes 0.3 s in place of 3."""


def survived(directory: Path, kind: str, moments: int) -> None:
    command = [sys.executable, "-c", _LIVES, str(directory), kind, str(moments), str(SEED)]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-2000:]
    lives = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]
    assert len(lives) == moments
    assert [life for life in lives if not life["well"]] == []
    assert len({life["files"] for life in lives}) > 2, "the moments were spread over the start"


@pytest.mark.timeout(600)
def test_a_controller_killed_at_8_moments_of_its_first_start_starts_the_next_time(
    broker_kind: str, tmp_path: Path
) -> None:
    survived(tmp_path, broker_kind, 8)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_controller_killed_at_200_moments_of_its_first_start_starts_the_next_time(
    broker_kind: str, tmp_path: Path
) -> None:
    survived(tmp_path, broker_kind, 200)
