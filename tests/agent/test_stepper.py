"""Law 2 in the stepper: a step whose record is not durable does not happen and is repeated later."""

import ast
import inspect
from collections import Counter
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any

import pytest

import agent.daemon
import firmware_sim.device
from agent.core.events import DesiredWithdrawn
from agent.core.model import Assignment, Record
from agent.flash.store import Store
from agent.models.device_model import DeviceModel
from agent.models.stepper import SAVE_RETRY_S, Stepper
from agent.serving.lineup import Lineup
from agent.serving.slot import ModelSlot
from contract.desired import TrialPolicy
from contract.errors import Code, EdgewardError
from contract.messages import ModelState
from firmware_sim.clock import stream
from firmware_sim.flash import Flash
from firmware_sim.models import SimRuntime, make_model
from tests.agent.golden_worlds import golden_probes

STABLE, TRIAL = make_model(1, "good"), make_model(2, "good")


def assigned(made: Any) -> Assignment:
    release = made.manifest.release
    return Assignment(model="m", generation=release, manifest=made.manifest, policy=TrialPolicy())


class Reported:
    """A replacement for the reporter: what was reported, in order."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def report(self, state: ModelState, now: float) -> None:
        self.words.append(f"{state.phase} {state.generation}")

    def refuse(self, error: EdgewardError, now: float) -> None:
        self.words.append(str(error.code))


class Bench:
    """A stepper with one model whose stable is on flash."""

    def __init__(self, record: Record) -> None:
        self.flash = flash = Flash(stream(1, "flash"))
        for made in (STABLE, TRIAL):
            flash.write(f"blob-{made.manifest.artifact.sha256}", made.artifact)
            flash.write(f"blob-{made.manifest.golden.blob.sha256}", made.golden)
        self.store, self.reported, dropped = Store(flash), Reported(), Counter[str]()
        self.slot = slot = ModelSlot("m", perf_s=float, lock=nullcontext())
        runtime = SimRuntime((STABLE, TRIAL), flash.read, lambda _: None)
        lineup = Lineup(slot, runtime, self.store, dropped)
        self.stepper = Stepper(
            store=self.store,
            runtime=runtime,
            reporter=self.reported,  # type: ignore[arg-type]
            new_model=lambda name: DeviceModel(
                name,
                slot,
                runtime,
                lineup,
                None,
                golden_probes(lineup, runtime),  # type: ignore[arg-type]
            ),
            enqueue=lambda _: None,
            local_clock=lambda: datetime(2026, 1, 1, tzinfo=UTC),
            holds=bool,
            dropped=dropped,
        )
        self.model = self.stepper.add("m", record)

    @property
    def serving(self) -> int | None:
        serving = self.slot.serving
        return serving.assignment.manifest.release if serving is not None else None


def refuse(self: Flash, name: str) -> None:
    raise OSError(5, "Input/output error")


def test_no_effect_of_a_step_happens_before_its_record_is_durable(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(Record(generation=1, stable=assigned(STABLE)))
    bench.stepper.resume("m", 0.0)
    before = bench.model.state
    with monkeypatch.context() as broken:
        broken.setattr(Flash, "sync", refuse)
        bench.stepper.step("m", DesiredWithdrawn(2), 10.0)
    assert bench.model.state is before
    assert bench.serving == 1
    assert bench.reported.words == ["steady 1", Code.DISK_FAILED]
    assert bench.stepper.retry_at() == 10.0 + SAVE_RETRY_S


def test_a_step_whose_write_failed_is_repeated_when_it_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(Record(generation=1, stable=assigned(STABLE)))
    bench.stepper.resume("m", 0.0)
    with monkeypatch.context() as broken:
        broken.setattr(Flash, "sync", refuse)
        bench.stepper.step("m", DesiredWithdrawn(2), 10.0)
    bench.stepper.retry(10.0 + SAVE_RETRY_S - 0.1)
    assert bench.serving == 1
    bench.stepper.retry(10.0 + SAVE_RETRY_S)
    assert bench.serving is None
    assert bench.store.load_records()[0]["m"] == bench.model.state.record == Record(generation=2)
    assert bench.stepper.retry_at() == float("inf")


def test_stable_serves_though_the_disk_accepts_no_record_after_a_boot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried = Record(generation=2, stable=assigned(STABLE), trial=assigned(TRIAL), trial_boots=1)
    bench = Bench(tried)
    with monkeypatch.context() as broken:
        broken.setattr(Flash, "sync", refuse)
        bench.stepper.resume("m", 0.0)
    assert bench.serving == 1
    assert bench.model.state.record == tried
    bench.stepper.retry(SAVE_RETRY_S)
    assert bench.serving == 2
    assert bench.model.state.record.trial_boots == 2


@pytest.mark.parametrize("program", [agent.daemon, firmware_sim.device])
def test_daemon_and_simulator_assemble_a_device_by_the_same_function(program: Any) -> None:
    called = {node.func.id for node in ast.walk(ast.parse(inspect.getsource(program))) if _is_plain_call(node)}
    assert "Assembly" in called
    assert not called & {"Agent", "Stepper", "DeviceModel", "Lineup", "ModelSlot", "Store", "Download", "Capturer"}


def _is_plain_call(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
