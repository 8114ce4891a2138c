"""Bugs planted in the agent: in its store, its update machine, its transfers and its reports."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from agent import agent
from agent.agent import Agent
from agent.core import health, machine
from agent.core.commands import Prune, Report, Save
from agent.core.events import HealthJudged
from agent.core.model import Record, Verdict
from agent.flash import store
from agent.models import device_model
from agent.transfer import chunks as transfer
from agent.transfer import download
from agent.trust import pending
from agent.uplink import reporter
from firmware_sim.flash import Flash
from tests.firmware_sim.planted_bug import Bugs

BUGS_OF_THE_AGENT = Bugs()
bug = BUGS_OF_THE_AGENT.bug


def _skip(original: Any, unless: Callable[[str], bool]) -> Any:
    return lambda self, name: None if unless(name) else original(self, name)


@bug("store", "brownout", "record_is_backed")
def blobs_are_renamed_before_they_are_synced(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Flash, "sync", _skip(Flash.sync, lambda name: name.startswith("part-")))


@bug("store", "brownout", "generation_monotonic")
def records_are_renamed_before_they_are_synced(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Flash, "sync", _skip(Flash.sync, lambda name: name.startswith("tmp-")))


@bug("store", "brownout", "never_stops")
def the_directory_is_never_synced(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Flash, "sync_directory", lambda self: None)


@bug("store", "slow_flash", "flash_is_clean")
def nothing_is_ever_pruned(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(store.Store, "prune", lambda self, keep: None)


@bug("store", "brownout", "record_is_backed")
def pruning_forgets_the_golden_set(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        Record, "kept_digests", property(lambda self: tuple(each.digest for each in (self.stable, self.trial) if each))
    )


@bug("agent", "calm", "whole_soak")
def the_soak_is_cut_short(patch: pytest.MonkeyPatch) -> None:
    original = machine._enter_trial
    patch.setattr(machine, "_enter_trial", lambda record, trial, now: original(record, trial, now - 20.0))


@bug("agent", "brownout", "whole_soak")
def the_soak_goes_on_after_a_reboot(patch: pytest.MonkeyPatch) -> None:
    original = machine.resume

    def resume(record: Record, now: float) -> machine.Step:
        state, commands = original(record, now)
        return (
            msgspec.structs.replace(state, soak_until=now, verdict=Verdict.PASS)
            if isinstance(state, machine.Trial)
            else state
        ), commands

    patch.setattr(machine, "resume", resume)


@bug("agent", "crash_loop", "rollout_ends")
def boots_of_a_trial_are_not_counted(patch: pytest.MonkeyPatch) -> None:
    original = machine.resume

    def resume(record: Record, now: float) -> machine.Step:
        return original(msgspec.structs.replace(record, trial_boots=0) if record.trial else record, now)

    patch.setattr(machine, "resume", resume)


@bug("agent", "calm", "wear_has_a_reason")
def the_record_is_written_at_every_look(patch: pytest.MonkeyPatch) -> None:
    original = Agent._tick

    def tick(self: Agent, now: float) -> None:
        original(self, now)
        for name, model in self.models.items():
            self._store.save_record(name, model.state.record)

    patch.setattr(Agent, "_tick", tick)


@bug("agent", "brownout", "record_is_backed")
def a_step_is_performed_before_its_record_is_saved(patch: pytest.MonkeyPatch) -> None:
    original = machine.step

    def step(state: machine.State, event: machine.Event, now: float) -> machine.Step:
        after, commands = original(state, event, now)
        return after, tuple(sorted(commands, key=lambda command: isinstance(command, Save)))

    patch.setattr(machine, "step", step)


@bug("agent", "bad_model", "rollout_ends")
def health_is_never_judged_sick(patch: pytest.MonkeyPatch) -> None:
    original = device_model.DeviceModel.judge

    def judge(self: device_model.DeviceModel) -> HealthJudged | None:
        found = original(self)
        return HealthJudged(found.digest, Verdict.PASS, measured=found.measured) if found else None

    patch.setattr(device_model.DeviceModel, "judge", judge)


@bug("agent", "bad_model", "rollout_ends")
def accuracy_has_no_yardstick(patch: pytest.MonkeyPatch) -> None:
    original = health.judge
    patch.setattr(device_model, "judge", lambda judged, policy, baseline: original(judged, policy, None))


@bug("agent", "bad_model", "never_stops")
def rolling_back_serves_nothing(patch: pytest.MonkeyPatch) -> None:
    original = machine._roll_back

    def roll_back(*arguments: Any) -> Any:
        state, commands = original(*arguments)
        return state, tuple(
            machine.Load(None) if isinstance(command, machine.Load) else command for command in commands
        )

    patch.setattr(machine, "_roll_back", roll_back)


@bug("agent", "calm", "serving_follows_record")
def confirming_names_the_wrong_version(patch: pytest.MonkeyPatch) -> None:
    original = machine._confirm

    def confirm(record: Record, trial: Any, measured: Any) -> Any:
        if record.stable is None:
            return original(record, trial, measured)
        back = Record(generation=record.generation, stable=record.stable, outcome=record.outcome)
        return machine.Steady(back), (Save(back), Prune(), Report())

    patch.setattr(machine, "_confirm", confirm)


@bug("agent", "storm", "never_falls_over")
def an_old_document_is_taken_again(patch: pytest.MonkeyPatch) -> None:
    original = machine._adopt_stable
    patch.setattr(machine, "newest_generation", lambda state: -1)
    patch.setattr(
        machine,
        "_adopt_stable",
        lambda record, wanted: original(
            msgspec.structs.replace(record, generation=0), msgspec.structs.replace(wanted, generation=0)
        ),
    )


@bug("transfer", "lossy", "never_falls_over")
def stalled_chunks_are_never_asked_for_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(transfer.Transfer, "stalled", lambda self, now: False)


@bug("transfer", "storm", "never_falls_over")
def a_download_does_not_go_on_after_a_reconnect(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(download.Download, "link_up", lambda self, now: None)
    patch.setattr(download.Download, "tick", lambda self, now: None)


@bug("agent", "lossy", "twin_follows")
def the_heartbeat_tells_an_old_state(patch: pytest.MonkeyPatch) -> None:
    original = device_model.DeviceModel.message

    def message(self: device_model.DeviceModel) -> Any:
        told = original(self)
        stable = told.stable and msgspec.structs.replace(told.stable, release=told.stable.release - 1)
        return msgspec.structs.replace(told, stable=stable)

    patch.setattr(device_model.DeviceModel, "message", message)


@bug("agent", "partition", "never_falls_over")
def roles_are_not_asked_for(patch: pytest.MonkeyPatch) -> None:
    original = pending.Pending.take
    patch.setattr(
        pending.Pending, "take", lambda self, now, floors: original(self, now, floors) if now < 200 else ([], [])
    )


@bug("agent", "lossy", "never_falls_over")
def reports_are_numbered_from_nowhere(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(reporter.Reporter, "_head", lambda self: {"protocol": 1, "device": "d", "boot": -1, "seq": 0})


@bug("agent", "calm", "never_falls_over")
def the_agent_spins(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(agent.Agent, "wake_at", lambda self: 0.0)
    patch.setattr("firmware_sim.device.MAX_STIMULI", 20_000)
