"""kill -9 during a push, or a caller that disconnects: the version is complete or absent."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from aiohttp import FormData
from aiohttp.test_utils import TestClient

from controller.api.body import LOOK_S, while_connected
from controller.config import Config, StorageConfig
from controller.registry.journal import AuditFilter
from controller.state import State, open_state
from controller.verbs import push as push_verb
from controller.verbs.push import finish_interrupted
from tests.controller.test_api import AUTH, talk

FEW, MANY = 5, 100

_PUSHER = """
import asyncio, sys
from pathlib import Path
from controller.config import Config, StorageConfig
from controller.state import open_state
from controller.verbs import push as push_verb
from tests.controller.registry_worlds import converted, pushed
directory = Path(sys.argv[1])
state = open_state(Config(storage=StorageConfig(data_dir=str(directory / "data"))))
state.deliveries.begin = lambda model, manifest: None
push_verb.finish_interrupted(state)
number = state.registry.next_release("m")
while True:
    async def run_conversion(*_, **__):
        return converted(b"onnx %d" % number + b"x" * 200_000)
    push_verb.run_conversion = run_conversion
    print(pushed(state, directory).version.release, flush=True)
    number += 1
"""


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    made = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path / "data"))))
    yield made
    made.close()


def killed_at_random(directory: Path, rng: Random) -> int:
    """Pushes until it is killed; the newest release that was acknowledged."""
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", _PUSHER, str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as pusher:
        assert pusher.stdout is not None
        first = pusher.stdout.readline()
        time.sleep(rng.uniform(0.0, 0.2))
        pusher.send_signal(signal.SIGKILL)
        return max(int(line) for line in [first, *pusher.stdout.read().splitlines()])


def check_whole(directory: Path, acknowledged: int) -> None:
    """Every existing version has all its blobs, its signature and its entry in the audit."""
    state = open_state(Config(storage=StorageConfig(data_dir=str(directory / "data"))))
    state.deliveries.begin = lambda model, manifest: None  # type: ignore[method-assign]
    finish_interrupted(state)
    found = state.registry.versions("m")
    assert [each.release for each in found] == list(range(1, len(found) + 1))
    assert acknowledged <= len(found) <= acknowledged + 1
    for version in found:
        assert all(state.blobs.get(digest) for digest in version.digests)
    newest = found[-1].release
    assert newest in state.trust_metadata.signed("m")
    entries = state.journal.audit_entries(2 * len(found), wanted=AuditFilter(action="push", subject="m v"))
    assert sorted(int(entry["subject"].rpartition("v")[2]) for entry in entries) == list(range(1, newest + 1))
    state.close()


@pytest.mark.parametrize("kills", [FEW, pytest.param(MANY, marks=[pytest.mark.soak, pytest.mark.timeout(900)])])
def test_a_version_is_complete_or_absent_after_every_kill(
    tmp_path: Path, kills: int, capsys: pytest.CaptureFixture[str]
) -> None:
    rng, acknowledged = Random(kills), 0
    for _ in range(kills):
        acknowledged = killed_at_random(tmp_path, rng)
        check_whole(tmp_path, acknowledged)
    with capsys.disabled():
        print(f"\n  pushes: {kills} kills, {acknowledged} versions, all of them whole")


class Caller:
    """A request whose caller disconnects when the test requires it."""

    def __init__(self) -> None:
        self.gone = False
        self.transport = self

    def is_closing(self) -> bool:
        return self.gone


def test_a_push_ends_when_its_caller_disconnects_and_leaves_only_an_audit_entry(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, ended = asyncio.Event(), []

    async def convert_for_ever(*_: object, **__: object) -> Any:
        began.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("conversion")

    async def hang_up() -> None:
        for name in ("raw", "sample"):
            (tmp_path / name).write_bytes(b"x")
        caller = Caller()
        work = push_verb.push(state, "m", "onnx", tmp_path / "raw", tmp_path / "sample", actor="ada", tags={})
        task = asyncio.create_task(while_connected(caller, work))  # type: ignore[arg-type]
        await began.wait()
        caller.gone = True
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 20 * LOOK_S)

    monkeypatch.setattr(push_verb, "run_conversion", convert_for_ever)
    asyncio.run(hang_up())
    assert ended == ["conversion"]
    assert state.registry.models() == []
    assert [each["action"] for each in state.journal.audit_entries(5)] == ["push cancel"]


def test_a_caller_that_disconnects_over_http_ends_its_push(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    began = asyncio.Event()

    async def convert_for_ever(*_: object, **__: object) -> Any:
        began.set()
        await asyncio.sleep(60)

    async def hang_up(client: TestClient) -> None:
        form = FormData()
        for part, content in (("request", b'{"kind": "onnx"}'), ("model", b"x"), ("sample", b"x")):
            form.add_field(part, content, filename=part)
        push = asyncio.create_task(client.post("/v1/models/m/versions", data=form, headers=AUTH))
        await asyncio.wait_for(began.wait(), 10)
        push.cancel()
        for _ in range(100):
            await asyncio.sleep(LOOK_S / 4)
            if state.journal.audit_entries(1):
                return

    monkeypatch.setattr(push_verb, "run_conversion", convert_for_ever)
    talk(state, hang_up)
    assert [each["action"] for each in state.journal.audit_entries(5)] == ["push cancel"]


def test_a_caller_that_stays_connected_gets_the_answer(state: State) -> None:
    async def answer() -> str:
        await asyncio.sleep(0)
        return "v1"

    assert asyncio.run(while_connected(Caller(), answer())) == "v1"  # type: ignore[arg-type]
