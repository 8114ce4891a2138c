"""Every power cut of every single-device scenario recovers; all bugs that are planted in the agent are found."""

from collections.abc import Callable
from itertools import chain

import pytest

from agent.core import machine
from agent.core.commands import Save
from agent.core.model import Record
from agent.flash.store import Store
from contract.blobs import Blob
from firmware_sim.cuts import by_name, every_cut, run_once, sampled_pairs
from firmware_sim.flash import Flash
from firmware_sim.scripts import SCRIPTS, Script


@pytest.mark.no_cover  # see test_worlds
@pytest.mark.parametrize("step", [3, pytest.param(1, marks=pytest.mark.soak)], ids=["each third", "each"])
@pytest.mark.parametrize("scenario", SCRIPTS, ids=lambda scenario: scenario.name)
def test_every_power_cut_recovers(scenario: Script, step: int) -> None:
    results = [*every_cut(scenario, 1, step), *sampled_pairs(scenario, seed=1, count=10)]
    broken = [f"{result.violation}; {result.reproduce}" for result in results if result.violation]
    assert broken == []


def test_every_one_of_hundreds_of_operations_is_cut() -> None:
    operations = {script.name: run_once(script, 1, ())[1].flash.power.operations for script in SCRIPTS}
    print(f"power cuts: {sum(operations.values())} in {len(operations)} scenarios")
    assert sum(operations.values()) >= 500


def test_the_same_seed_and_cuts_give_the_same_history() -> None:
    runs = [run_once(by_name("update"), 3, (17, 40))[1] for _ in range(2)]
    assert runs[0].history == runs[1].history


def caught(name: str) -> bool:
    """Returns whether some power cut of the scenario breaks a law or crashes the device."""
    scenario = by_name(name)
    try:
        return any(result.violation for result in chain(every_cut(scenario, 0), sampled_pairs(scenario, 0, 20)))
    except Exception:  # a crash of the device is a found bug
        return True


def test_nothing_is_reported_without_a_planted_bug() -> None:
    assert not caught("update")


def rename_without_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Flash.sync
    monkeypatch.setattr(Flash, "sync", lambda self, name: None if name.startswith("tmp-") else original(self, name))


def directory_never_synced(monkeypatch: pytest.MonkeyPatch) -> None:
    def save(self: Store, model: str, record: Record) -> None:
        monkeypatch.setattr(Flash, "sync_directory", lambda flash: None)
        original_save(self, model, record)

    original_save = Store.save_record
    monkeypatch.setattr(Store, "save_record", save)


def blob_sealed_unverified(monkeypatch: pytest.MonkeyPatch) -> None:
    def seal(self: Store, blob: Blob, *, verified: bool = False) -> None:
        self._disk.rename(f"part-{blob.sha256}-{blob.chunks_sha256}", f"blob-{blob.sha256}")

    def has(self: Store, blob: Blob) -> bool:
        return f"blob-{blob.sha256}" in self._disk.names()

    monkeypatch.setattr(Store, "seal", seal)
    monkeypatch.setattr(Store, "has", has)


def boots_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    original = machine.resume
    monkeypatch.setattr(
        machine, "resume", lambda record, now: original(record if record.trial is None else _with_boots(record, 0), now)
    )


def _with_boots(record: Record, boots: int) -> Record:
    import msgspec

    return msgspec.structs.replace(record, trial_boots=boots)


def soak_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    original = machine._enter_trial
    monkeypatch.setattr(machine, "_enter_trial", lambda record, trial, now: original(record, trial, now - 15.0))


def served_before_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    original = machine.step

    def step(state: machine.State, event: machine.Event, now: float) -> machine.Step:
        after, commands = original(state, event, now)
        return after, tuple(sorted(commands, key=lambda command: isinstance(command, Save)))

    monkeypatch.setattr(machine, "step", step)


def pruned_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Record, "kept_digests", property(lambda self: self.trial.blobs[1].sha256 if self.trial else ()))


def rolled_back_in_memory_only(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Store.save_record

    def save(self: Store, model: str, record: Record) -> None:
        if record.trial is not None or record.outcome is None or record.outcome.result != "rolled_back":
            original(self, model, record)

    monkeypatch.setattr(Store, "save_record", save)


@pytest.mark.no_cover  # see test_worlds
@pytest.mark.parametrize(
    ("plant", "scenario"),
    [
        (rename_without_sync, "update"),
        (directory_never_synced, "update"),
        (blob_sealed_unverified, "update"),
        (boots_not_counted, "crash_loop"),
        (soak_forgotten, "update"),
        (served_before_saved, "wrong_answers"),
        (pruned_too_much, "wrong_answers"),
        (rolled_back_in_memory_only, "wrong_answers"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_planted_bug_is_caught(
    plant: Callable[[pytest.MonkeyPatch], None], scenario: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    assert caught(scenario)
