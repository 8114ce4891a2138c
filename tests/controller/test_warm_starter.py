"""The warm starter: its children behave like fresh ones and leave nothing behind. Real processes throughout."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil
import pytest
from sklearn.ensemble import RandomForestClassifier

from contract.errors import BadInput
from controller.convert import starter as starter_module
from controller.convert import warm_child
from controller.convert.convert import ConversionLimits, Converted
from controller.convert.starter import MAX_DEATHS, Starter
from controller.convert.starter_words import THREADED
from edgeward.encode import encode_model, encode_rows
from tests.controller.conversions import convert_bytes, form_of
from tests.controller.test_hostile_pushes import HOLE, calling, full_only, skops_file

X = np.random.default_rng(0).normal(size=(60, 3))
FOREST = encode_model(RandomForestClassifier(3, random_state=0).fit(X, X[:, 0] > 0))[1]
ENDLESS = "while True: pass"
WAIT_S = 60.0


@pytest.fixture
def starter() -> Iterator[Starter]:
    """A starter that the test may end, kill or stop."""
    made = Starter()
    yield made
    made.end()


@pytest.fixture(scope="module")
def kept() -> Iterator[Starter]:
    """A starter that every test leaves running: its imports take three seconds."""
    made = Starter()
    yield made
    made.end()


async def converting(raw: bytes, starter: Starter | None, **limits: Any) -> Converted:
    chosen = ConversionLimits(**{"timeout_s": 60, "memory_mb": 1024, "trusted_types": HOLE, **limits})
    return await convert_bytes("skops", raw, encode_rows(X), chosen, starter=starter)


def convert(starter: Starter | None, raw: bytes = FOREST, **limits: Any) -> Converted:
    return asyncio.run(converting(raw, starter, **limits))


def running(code: str) -> bytes:
    return skops_file(calling("builtins", "exec", code))


def said_by(starter: Starter | None, expression: str) -> str:
    """Returns the output of a model that may run code in the conversion child."""
    words = "global os, resource, sys, tempfile\nimport os, resource, sys, tempfile\n"
    words += f"raise ValueError('<' + repr({expression}) + '>')"
    with pytest.raises(BadInput) as caught:
        convert(starter, running(words))
    return caught.value.detail.partition("<")[2].partition(">")[0]


async def child_of(starter: Starter) -> psutil.Process:
    """The child of the starter, once it is confined and runs the model's code."""
    async with asyncio.timeout(WAIT_S):
        while True:
            await asyncio.sleep(0.05)
            found = psutil.Process(starter.pid).children() if starter.pid else []
            if found and "Seccomp:\t2" in Path(f"/proc/{found[0].pid}/status").read_text():
                await asyncio.sleep(0.2)
                return found[0]


def gone(*pids: int | None) -> bool:
    deadline = time.monotonic() + WAIT_S
    while any(_alive(pid) for pid in pids if pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(_alive(pid) for pid in pids if pid)


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def interrupted(starter: Starter, raw: bytes, act: Callable[[psutil.Process, Any], None], **limits: Any) -> Any:
    """Acts on the child of a conversion while it runs. Returns (the child, the result of the conversion)."""

    async def script() -> Any:
        task = asyncio.create_task(converting(raw, starter, **limits))
        child = await child_of(starter)
        act(child, task)
        return child, (await asyncio.gather(task, return_exceptions=True))[0]

    return asyncio.run(script())


def test_a_warm_child_makes_the_same_bytes_as_a_fresh_one(kept: Starter) -> None:
    def decided(converted: Converted) -> Any:
        form = msgspec.structs.replace(converted.answer.form, load_s=0, load_mb=0)  # measured
        return form_of(converted), msgspec.structs.replace(converted.answer, form=form)

    fresh = decided(convert(None))
    assert decided(convert(kept)) == fresh
    pid = kept.pid
    assert decided(convert(kept)) == fresh
    assert pid is not None
    assert kept.pid == pid


TOLD = "('NoNewPr', 'Seccomp', 'Threads', 'SigIgn:', 'SigBlk:')"
MAPPED = "int(open('/proc/self/statm').read().split()[0]) * 4096"
SAME = {
    "limits": "[resource.getrlimit(getattr(resource, 'RLIMIT_' + name)) for name in ('CPU','NOFILE','FSIZE','CORE')]",
    "confinement": f"[line for line in open('/proc/self/status') if line[:7] in {TOLD}]",
    "descriptors": "[name for name in os.listdir('/proc/self/fd') if os.path.exists('/proc/self/fd/' + name)]",
    "variables": "sorted(name for name in os.environ)",
    "homes": "os.environ['HOME'] == os.environ['TMPDIR'] == tempfile.gettempdir() == sys.argv[1]",
    "memory": f"round((resource.getrlimit(resource.RLIMIT_AS)[1] - {MAPPED}) / 2**28)",
    "interpreter": "(os.getcwd(), [len(path) for path in sys.path], tuple(sys.flags))",
}


@full_only
def test_a_warm_child_has_the_limits_of_a_fresh_one(kept: Starter) -> None:
    for some in (("limits", "memory", "homes"), ("confinement", "descriptors", "interpreter"), ("variables",)):
        expression = "(" + ", ".join(SAME[what] for what in some) + ")"
        warm, fresh = said_by(kept, expression), said_by(None, expression)
        assert (some, warm, bool(warm)) == (some, fresh, True)


@full_only
def test_two_children_of_one_starter_draw_different_random_numbers(kept: Starter) -> None:
    convert(kept)
    pid = kept.pid
    drawn = []
    for _ in range(2):
        code = "import os, numpy as np\nopen(os.environ['TMPDIR'] + '/x', 'w').write('x')\n"
        with pytest.raises(BadInput) as caught:
            convert(kept, running(code + "raise ValueError(np.random.random())"))
        drawn.append(caught.value.detail)
    assert kept.pid == pid  # a refusal is no crash
    assert "0." in drawn[0]
    assert drawn[0] != drawn[1]


@full_only
def test_the_starter_has_one_thread_and_holds_no_model(kept: Starter) -> None:
    convert(kept)
    process = psutil.Process(kept.pid)
    assert process.num_threads() == 1
    assert process.open_files() == []
    mapped = {entry.path for entry in process.memory_maps()}
    assert not any("edgeward-convert" in path for path in mapped)
    assert process.environ()["HOME"] == "/nonexistent"


@full_only
def test_a_cancelled_push_ends_its_child_and_the_starter_stays(kept: Starter) -> None:
    sessions = []

    def cancel(child: psutil.Process, task: Any) -> None:
        sessions.append((os.getsid(child.pid), os.getpgid(child.pid)))
        task.cancel()

    child, outcome = interrupted(kept, running(ENDLESS), cancel)
    assert sessions == [(child.pid, child.pid)]
    assert isinstance(outcome, asyncio.CancelledError)
    assert gone(child.pid)
    pid = kept.pid
    assert convert(kept).forms
    assert kept.pid == pid


@full_only
def test_a_child_that_takes_too_long_is_killed(kept: Starter) -> None:
    convert(kept)
    child, outcome = interrupted(kept, running(ENDLESS), lambda _, __: None, timeout_s=3)
    assert "took longer than 3 s" in str(outcome)
    assert gone(child.pid)


@full_only
@pytest.mark.soak
def test_a_stuck_starter_is_killed_with_its_child(starter: Starter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm_child, "KILL_S", 0.5)
    pids = []

    def stop(_: psutil.Process, __: Any) -> None:
        pids.append(starter.pid)
        os.kill(starter.pid, signal.SIGSTOP)  # type: ignore[arg-type]

    convert(starter)  # its imports are over before the time of the next conversion begins
    child, outcome = interrupted(starter, running(ENDLESS), stop, timeout_s=8)
    assert "took longer than 8 s" in str(outcome)
    assert gone(child.pid, *pids)
    assert convert(starter).forms


@full_only
def test_a_crash_in_a_child_ends_the_starter_so_that_the_next_one_has_other_memory_addresses(starter: Starter) -> None:
    convert(starter)
    pid = starter.pid
    with pytest.raises(BadInput) as caught:
        convert(starter, running("import ctypes; ctypes.string_at(0)"))
    assert "ended by signal 11" in caught.value.detail
    assert starter.pid is None
    assert convert(starter).forms
    assert starter.pid not in (pid, None)


@full_only
def test_a_push_whose_starter_ends_is_converted_by_a_fresh_child(starter: Starter) -> None:
    slow = f"import os\nwhile os.getppid() != {os.getpid()}: pass\nraise ValueError('fresh')"
    child, outcome = interrupted(starter, running(slow), lambda child, _: child.parent().kill())
    assert "fresh" in outcome.detail
    assert gone(child.pid)
    assert convert(starter).forms
    assert starter.pid is not None


def test_a_starter_that_ends_repeatedly_is_used_no_more(starter: Starter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starter_module, "MAX_DEATHS", 2)
    with monkeypatch.context() as broken:
        broken.setattr(starter_module, "WARM", "controller.convert.absent")
        for _ in range(2):
            assert convert(starter).forms
    assert (starter.pid, starter.deaths) == (None, 2)
    assert convert(starter).forms
    assert starter.pid is None


@pytest.mark.soak
def test_a_starter_with_threads_does_not_fork(starter: Starter, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator may want more threads of a library: then every child is fresh."""
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")
    ended = subprocess.run(
        [sys.executable, "-I", "-m", starter_module.WARM, "1"], stdin=subprocess.DEVNULL, env=os.environ
    )
    assert ended.returncode == THREADED
    assert convert(starter).forms
    assert starter.deaths == MAX_DEATHS


def test_an_idle_starter_ends_by_itself_and_that_is_not_counted_as_a_crash() -> None:
    starter = Starter(idle_s=0.5)
    convert(starter)
    pid = starter.pid
    assert gone(pid)
    assert convert(starter).forms
    assert starter.pid not in (pid, None)
    assert starter.deaths == 0
    starter.end()


def test_a_starter_ends_after_its_last_child(starter: Starter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starter_module, "MAX_CHILDREN", 1)
    convert(starter)
    assert starter.pid is None


@full_only
def test_the_end_of_the_controller_ends_starter_and_child(starter: Starter) -> None:
    pids = []

    def end(_: psutil.Process, task: Any) -> None:
        pids.append(starter.pid)
        task.cancel()
        starter.end()

    child, _ = interrupted(starter, running(ENDLESS), end)
    assert gone(child.pid, *pids)


CONTROLLER = """
import asyncio, sys
from controller.convert.starter import Starter
from tests.controller.test_warm_starter import ENDLESS, child_of, converting, running
async def main():
    starter = Starter()
    task = asyncio.create_task(converting(running(ENDLESS), starter))
    child = await child_of(starter)
    print(starter.pid, child.pid, flush=True)
    await task
asyncio.run(main())
"""


@full_only
def test_a_killed_controller_leaves_no_starter_and_no_child() -> None:
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", CONTROLLER], stdout=subprocess.PIPE, cwd=root) as controller:
        assert controller.stdout is not None
        pids = [int(word) for word in controller.stdout.readline().split()]
        assert len(pids) == 2
        assert all(map(_alive, pids))
        controller.kill()
    assert gone(*pids)
