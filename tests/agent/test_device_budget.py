"""The resources that the agent takes: memory up to the smallest limit, and only the configured threads."""

import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from agent.adapters.http.server import HttpServer
from agent.adapters.runtime import onnx_runtime
from agent.adapters.runtime.onnx_runtime import OnnxRuntime
from agent.config import ServingConfig


def test_a_configured_budget_includes_the_memory_that_the_agent_already_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = OnnxRuntime().usage()
    assert taken.rss_mb > 10.0, "this process, with Python and onnxruntime in it"
    monkeypatch.setattr(OnnxRuntime, "usage", lambda self: replace(taken, rss_mb=200.0))
    assert OnnxRuntime(memory_mb=250).free_mb() == 50.0
    assert OnnxRuntime(memory_mb=150).free_mb() == 0.0
    assert OnnxRuntime().free_mb() > 60.0


def test_the_limit_of_a_control_group_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_runtime, "_GROUP", tmp_path)
    unlimited = OnnxRuntime().free_mb()
    (tmp_path / "memory.current").write_text("400000000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert OnnxRuntime().free_mb() == pytest.approx(unlimited, rel=0.2)
    (tmp_path / "memory.max").write_text("512000000\n")
    assert OnnxRuntime().free_mb() == pytest.approx(112.0)


@pytest.mark.parametrize("threads", [1, 5])
def test_inferences_of_local_programs_share_the_configured_threads(tmp_path: Path, threads: int) -> None:
    endpoint: Any = None
    server = HttpServer(endpoint, ServingConfig(listen=f"unix:{tmp_path}/s", threads=threads))
    try:
        assert server._serving.pool._max_workers == threads
    finally:
        server.stop()
        server._serving.loop.close()


def told(program: str) -> int:
    """Returns the number that a new process prints."""
    return int(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout)


def test_numpy_starts_no_threads_in_an_agent() -> None:
    assert told("import agent.cli, numpy, pathlib; print(len(list(pathlib.Path('/proc/self/task').iterdir())))") == 1


REUSE = """
import resource
from agent.adapters.runtime import heap
heap.tune()
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    bytes(300_000) + b"x"
before = faults()
for _ in range(200):
    bytes(300_000) + b"x"
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's heap is tuned")
def test_memory_that_chunks_pass_through_is_used_again() -> None:
    assert told(REUSE) < 2000, "memory returned each time would be 150 pages for each chunk"
