"""Threads and execution providers of a session: those that a rollout requests, within the limits of the device."""

from pathlib import Path

import pytest

from agent.adapters.runtime.onnx_runtime import OnnxRuntime, OnnxSession
from agent.adapters.runtime.session_settings import CPU, Budget, SessionSettings
from agent.adapters.runtime.worker import WorkerSession
from contract.desired import TrialPolicy
from firmware_sim.real_models import make_real_model

CUDA, XNN = "CUDAExecutionProvider", "XnnpackExecutionProvider"


@pytest.mark.parametrize(("asked", "budget", "given"), [(1, 4, 1), (4, 2, 2), (3, 8, 3)])
def test_a_version_gets_its_requested_threads_within_the_devices_budget(asked: int, budget: int, given: int) -> None:
    found = Budget(threads=budget).settings(TrialPolicy(threads=asked), (CPU,))
    assert found == SessionSettings(given, (CPU,))


@pytest.mark.parametrize(
    ("asked", "allowed", "given"),
    [
        ((), (CUDA,), (CPU,)),
        ((CUDA, XNN), (XNN, CUDA), (CUDA, XNN, CPU)),
        ((CUDA,), (), (CPU,)),
        ((CPU, CUDA), (CUDA,), (CUDA, CPU)),
        (("TensorrtExecutionProvider",), ("TensorrtExecutionProvider",), (CPU,)),
    ],
)
def test_a_version_gets_its_requested_providers_that_the_device_allows_and_has(
    asked: tuple[str, ...], allowed: tuple[str, ...], given: tuple[str, ...]
) -> None:
    found = Budget(providers=allowed).settings(TrialPolicy(providers=asked), (CUDA, XNN, CPU))
    assert found.providers == given


def test_a_session_and_a_worker_use_their_configured_threads_and_providers(tmp_path: Path) -> None:
    made = make_real_model(1, "good")
    path = tmp_path / "model.onnx"
    path.write_bytes(made.artifact)
    runtime = OnnxRuntime(budget=Budget(threads=2))
    session = runtime.load(str(path), made.manifest, TrialPolicy(threads=2))
    assert isinstance(session, OnnxSession)
    assert session._session.get_session_options().intra_op_num_threads == 2
    assert session._session.get_providers() == [CPU]
    workers = [runtime.load(str(path), made.manifest, TrialPolicy(isolated=True, threads=each)) for each in (1, 2)]
    counts = []
    for worker in workers:
        assert isinstance(worker, WorkerSession)
        assert worker._child is not None
        counts.append(len(list(Path(f"/proc/{worker.pid}/task").iterdir())))
        worker._child.end()
    assert counts[1] == counts[0] + 1
