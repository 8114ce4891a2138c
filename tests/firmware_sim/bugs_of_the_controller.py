"""Bugs planted in the controller: in its passes, rollouts, restores, publications, health, and record of starts."""

from typing import Any

import msgspec
import pytest

from contract.errors import WorldError
from contract.messages import Heartbeat
from contract.trust import repository
from controller import health as controller_health
from controller.broker.retained import RetainedState
from controller.broker.skipped import Skipped
from controller.fleet import boots
from controller.fleet.boots import Boots
from controller.fleet.twin import Twin
from controller.reconcile import decisions, durable, membership, preview, restored
from controller.reconcile.durable import FleetRecords
from controller.reconcile.one_pass import Passes, Unsaved
from controller.reconcile.world import FromDevice, World
from controller.rollout import analysis, decide
from controller.rollout.rows import Rows
from firmware_sim import controller as sim_controller
from tests.firmware_sim.planted_bug import Bugs

BUGS_OF_THE_CONTROLLER = Bugs()
bug = BUGS_OF_THE_CONTROLLER.bug


@bug("reconcile", "calm", "never_falls_over")
def heartbeats_cannot_be_folded(patch: pytest.MonkeyPatch) -> None:
    original = decisions.fold

    def fold(world: World, device: str, message: FromDevice, now: float) -> bool:
        if isinstance(message, Heartbeat):
            raise KeyError(device)
        return original(world, device, message, now)

    patch.setattr(decisions, "fold", fold)


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
    patch.setattr(decide, "holds", lambda rollout, fact: True)


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

    async def notes_it_as_published(self: Any, blob: Any) -> None:
        await original(self, blob)
        self._records.save_published([blob])

    patch.setattr(RetainedState, "_publish_blob", notes_it_as_published)


@bug("publisher", "damaged_blob", "rollout_ends")
def what_cannot_be_published_is_left_out_in_silence(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Skipped, "failed", lambda self, name, error, now: None)


@bug("publisher", "damaged_blob", "health_tells")
def one_damaged_blob_ends_the_pass(patch: pytest.MonkeyPatch) -> None:
    async def publishes(self: Any, blob: Any) -> None:
        self._retain(self._publisher.chunks(blob))

    patch.setattr(RetainedState, "_publish_blob", publishes)


@bug("health", "broker_lost", "health_tells")
def health_does_not_look_at_the_broker(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(controller_health, "_broker", lambda facts: ("", ""))


@bug("health", "disk_fails", "health_tells")
def health_is_ok_while_every_pass_fails(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(controller_health, "_passes", lambda facts: ("", ""))


@bug("decide", "unknown_release", "never_stops")
def a_device_without_a_way_back_is_left_with_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(decide, "_keeps_its_own", lambda rollout, member, fact: False)
    patch.setattr(preview, "marked", lambda world, model, members: members)


@bug("reconcile", "unknown_release", "well_again")
def a_way_back_leads_to_a_release_that_the_registry_lacks(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(membership, "holds", lambda world, model, version: True)


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


@bug("one_pass", "cloned_identity", "never_delays_another")
def nothing_is_published_while_one_device_runs_twice(patch: pytest.MonkeyPatch) -> None:
    run, publish = Passes.run, Passes._publish
    newest = [0.0]

    async def noted(self: Passes, inbox: Any, now: float) -> None:
        newest[0] = now
        await run(self, inbox, now)

    async def waits(self: Passes) -> None:
        if any(twin.boots.is_taken(newest[0]) for twin in self._world.durable.twins.values()):
            self._acknowledge()
        else:
            await publish(self)

    patch.setattr(Passes, "run", noted)
    patch.setattr(Passes, "_publish", waits)
