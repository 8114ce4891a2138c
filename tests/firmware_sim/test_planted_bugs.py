"""Bugs planted all over agent and controller, `one_pass` among them: each is noticed by the law beside it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
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
from contract.errors import WorldError
from contract.trust import repository
from controller import health as controller_health
from controller.broker.retained import RetainedState
from controller.broker.skipped import Skipped
from controller.fleet import boots
from controller.fleet.boots import Boots
from controller.fleet.twin import Twin
from controller.reconcile import decisions, durable, membership, restored
from controller.reconcile.durable import FleetRecords
from controller.reconcile.one_pass import Passes, Unsaved
from controller.rollout import analysis, decide
from controller.rollout.rows import Rows
from firmware_sim import controller as sim_controller
from firmware_sim.checkers.fleet import keeps_its_model
from firmware_sim.checkers.law import Violation
from firmware_sim.flash import Flash
from firmware_sim.runs import run_once
from firmware_sim.scenario import load_scenario
from firmware_sim.world import FleetWorld

pytestmark = pytest.mark.no_cover  # the same worlds are measured in test_worlds, at two and a half times the cost
Plant = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class Bug:
    """What is broken, in which scenario it shows, and which law notices."""

    name: str
    where: str
    scenario: str
    law: str
    plant: Plant


BUGS: list[Bug] = []


def bug(where: str, scenario: str, law: str) -> Callable[[Plant], Plant]:
    def add(plant: Plant) -> Plant:
        BUGS.append(Bug(plant.__name__, where, scenario, law, plant))
        return plant

    return add


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


@bug("rollout", "bad_model", "no_wave_before_its_turn")
def all_waves_are_offered_at_once(patch: pytest.MonkeyPatch) -> None:
    original = decide.decide

    def at_once(rollout: Any, *given: Any) -> Any:
        eager = msgspec.structs.replace(rollout, wave=rollout.last_wave)
        found = original(eager, *given)
        return decide.Decision(msgspec.structs.replace(found.rollout, wave=rollout.wave), found.offers, found.verdicts)

    patch.setattr(decisions, "decide", at_once)


@bug("rollout", "bad_model", "rollout_ends")
def a_tripped_rule_only_logs(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(decide, "_tripped", lambda *_: None)


@bug("rollout", "mixed_fleet", "rollout_ends")
def failures_do_not_count_as_decided(patch: pytest.MonkeyPatch) -> None:
    original = analysis._count
    patch.setattr(analysis, "_count", lambda *given: msgspec.structs.replace(original(*given), failed=0))


@bug("rollout", "calm", "never_falls_over")
def two_waves_are_promoted_at_once(patch: pytest.MonkeyPatch) -> None:
    original = decide._advance

    def advance(*arguments: Any) -> Any:
        found = original(*arguments)
        return (
            found
            if found.rollout.wave == arguments[0].rollout.wave
            else decide.Decision(msgspec.structs.replace(found.rollout, wave=found.rollout.wave + 1))
        )

    patch.setattr(decide, "_advance", advance)


@bug("rollout", "bad_model", "rollout_ends")
def rolling_back_tells_nobody(patch: pytest.MonkeyPatch) -> None:
    original = decide._return_all
    patch.setattr(decide, "_return_all", lambda *given, **named: decide.Decision(original(*given, **named).rollout))
    patch.setattr(decide, "_holds", lambda rollout, fact: True)


@bug("reconcile", "lossy", "rollout_ends")
def what_was_not_heard_is_not_said_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(decisions, "unheard_documents", lambda world, now: set())


@bug("reconcile", "controller_dies", "rollout_ends")
def rollouts_are_not_made_durable(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(FleetRecords, "_rollout_rows", lambda self, rollouts: {})


@bug("rollout", "crash_on_one_stratum", "rollout_ends")
def a_bad_stratum_stops_everybody(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(decide, "_after_trip", lambda rollout, *_: msgspec.structs.replace(rollout, status="aborting"))


@bug("rollout", "drifting_world", "rollout_ends")
def both_sides_are_compared_whenever_they_were_measured(patch: pytest.MonkeyPatch) -> None:
    original = Rows.add
    patch.setattr(
        Rows, "add", lambda self, device, at, sums, *, treated: original(self, device, 0.0, sums, treated=treated)
    )


@bug("rollout", "worse_model", "rollout_ends")
def missing_evidence_is_a_pass(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Rows, "add", lambda self, device, at, sums, *, treated: None)


@bug("reconcile", "controller_dies", "durable_before_published")
def desired_documents_are_not_made_durable(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(durable, "device_rows", lambda twins: {})


@bug("one_pass", "controller_crashes", "durable_before_acknowledged")
def a_report_is_acknowledged_before_it_is_durable(patch: pytest.MonkeyPatch) -> None:
    original = Passes._save

    def save(self: Passes, now: float) -> None:
        self._unacknowledged.extend(self._unsaved.acks)
        self._unsaved.acks = []
        self._acknowledge()
        original(self, now)

    patch.setattr(Passes, "_save", save)


@bug("one_pass", "controller_crashes", "durable_before_published")
def a_document_is_published_before_it_is_durable(patch: pytest.MonkeyPatch) -> None:
    async def run(self: Passes, inbox: Any, now: float) -> None:
        messages, captured = inbox.take()
        self._unsaved.take(decisions.reconcile(self._world, messages, now), captured)
        self._unpublished |= self._unsaved.redesired
        await self._publish()
        self._save(now)

    patch.setattr(Passes, "run", run)


@bug("one_pass", "disk_fails", "durable_before_published")
def an_unsaved_change_is_lost_by_a_failed_pass(patch: pytest.MonkeyPatch) -> None:
    original = Passes._save

    def save(self: Passes, now: float) -> None:
        try:
            original(self, now)
        except WorldError:
            self._unsaved = Unsaved()
            raise

    patch.setattr(Passes, "_save", save)


@bug("restore", "controller_restored", "rollout_ends")
def documents_are_numbered_from_the_backup_on(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Twin, "next_version", lambda self, now: self.document_version + 1)


@bug("restore", "controller_restored_early", "nothing_refused_for_ever")
def metadata_is_numbered_from_the_backup_on(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(repository, "next_version", lambda previous, now_s: previous + 1)


@bug("restore", "controller_restored", "rollout_ends")
def rollouts_that_were_open_in_the_backup_go_on(patch: pytest.MonkeyPatch) -> None:
    original = restored.take_up

    def take_up(world: Any, backed_up_at: str, now: float) -> Any:
        before = dict(world.durable.rollouts)
        devices, _ = original(world, backed_up_at, now)
        world.durable.rollouts = before
        return devices, []

    patch.setattr(restored, "take_up", take_up)


@bug("restore", "controller_restored_early", "never_stops")
def what_a_restored_controller_does_not_know_is_withdrawn(patch: pytest.MonkeyPatch) -> None:
    original = restored.take_up

    def take_up(world: Any, backed_up_at: str, now: float) -> Any:
        twins = world.durable.twins
        for name, twin in twins.items():
            twins[name] = msgspec.structs.replace(twin, document_version=1, withdrawn={"m": int(now)})
        return original(world, backed_up_at, now)

    patch.setattr(restored, "take_up", take_up)


@bug("publisher", "storm", "never_stops")
def blobs_that_the_broker_lost_stay_lost(patch: pytest.MonkeyPatch) -> None:
    async def none(_: Any, __: Any) -> set[str]:
        return set()

    patch.setattr(sim_controller.SimController, "_lost", none)


@bug("health", "damaged_blob", "health_tells")
def health_does_not_look_at_what_is_not_published(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(controller_health, "_left_out", lambda code, what, faults: ("", ""))


@bug("publisher", "damaged_blob", "well_again")
def a_blob_that_was_lost_while_it_was_damaged_is_never_tried_again(patch: pytest.MonkeyPatch) -> None:
    original = RetainedState._publish_blob

    def notes_it_as_published(self: Any, blob: Any) -> None:
        original(self, blob)
        self._records.save_published([blob])

    patch.setattr(RetainedState, "_publish_blob", notes_it_as_published)


@bug("publisher", "damaged_blob", "rollout_ends")
def what_cannot_be_published_is_left_out_in_silence(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Skipped, "failed", lambda self, name, error, now: None)


@bug("publisher", "damaged_blob", "health_tells")
def one_damaged_blob_ends_the_pass(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(RetainedState, "_publish_blob", lambda self, blob: self._retain(self._publisher.chunks(blob)))


@bug("health", "broker_lost", "health_tells")
def health_does_not_look_at_the_broker(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(controller_health, "_broker", lambda facts: ("", ""))


@bug("health", "disk_fails", "health_tells")
def health_is_ok_while_every_pass_fails(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(controller_health, "_passes", lambda facts: ("", ""))


@bug("decide", "unknown_release", "never_stops")
def a_device_without_a_way_back_is_left_with_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(decide, "_keeps_its_own", lambda rollout, member, fact: False)


@bug("reconcile", "unknown_release", "well_again")
def a_way_back_leads_to_a_release_that_the_registry_lacks(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(membership, "holds", lambda world, model, version: True)


@bug("agent", "lossy", "never_falls_over")
def reports_are_numbered_from_nowhere(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(reporter.Reporter, "_head", lambda self: {"protocol": 1, "device": "d", "boot": -1, "seq": 0})


@bug("reconcile", "reflashed_card", "heard_after_every_start")
def starts_are_put_in_order_by_their_number(patch: pytest.MonkeyPatch) -> None:
    original = Boots.heard

    def by_number(self: Boots, boot: int, seq: int, now: float) -> tuple[Boots, bool]:
        if self.current is not None and boot < self.current.id:
            return self, False
        return original(self, boot, seq, now)

    patch.setattr(Boots, "heard", by_number)


@bug("reconcile", "cloned_identity", "copy_is_told")
def a_second_device_is_taken_for_late_messages(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(boots, "SPACING_S", 1e9)


@bug("reconcile", "cloned_identity", "copy_is_told")
def whoever_spoke_last_is_the_newest_start(patch: pytest.MonkeyPatch) -> None:
    def last_word(self: Boots, boot: int, seq: int, now: float) -> tuple[Boots, bool]:
        return Boots(boots.Boot(boot, seq, now, now)), True

    patch.setattr(Boots, "heard", last_word)


@bug("agent", "calm", "never_falls_over")
def the_agent_spins(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(agent.Agent, "wake_at", lambda self: 0.0)
    patch.setattr("firmware_sim.device.MAX_STIMULI", 20_000)


def _skip(original: Any, unless: Callable[[str], bool]) -> Any:
    return lambda self, name: None if unless(name) else original(self, name)


SEEDS = range(1, 6)
"""With nothing planted none of them breaks a law: test_worlds, for large worlds from the second on in `make soak`."""
SCENARIOS = Path(__file__).parents[2] / "configs" / "scenarios"


def laws_broken(scenario: str) -> str:
    """The first law that some seed breaks; empty when all are kept."""
    loaded = load_scenario(SCENARIOS / f"{scenario}.toml")
    return next((result.law for seed in SEEDS if (result := run_once(loaded, seed)[0]).law), "")


@pytest.mark.parametrize("planted", BUGS, ids=lambda planted: f"{planted.where}-{planted.name}")
def test_a_planted_bug_is_caught_by_its_checker(planted: Bug, monkeypatch: pytest.MonkeyPatch) -> None:
    planted.plant(monkeypatch)
    assert laws_broken(planted.scenario) == planted.law


def test_a_model_that_is_lost_is_noticed_by_a_law_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    what_a_restored_controller_does_not_know_is_withdrawn(monkeypatch)
    world = FleetWorld(load_scenario(SCENARIOS / "controller_restored_early.toml"), 1)
    world.run()
    with pytest.raises(Violation, match="keeps_its_model"):
        keeps_its_model(world)


def test_there_are_at_least_twenty_of_them_all_over_the_place() -> None:
    assert len(BUGS) >= 20
    assert {planted.where for planted in BUGS} >= {
        "agent",
        "store",
        "transfer",
        "reconcile",
        "one_pass",
        "rollout",
        "publisher",
    }
