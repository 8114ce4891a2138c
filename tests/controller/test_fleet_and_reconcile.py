from decimal import Decimal

import msgspec
import pytest
from msgspec.structs import replace

from contract.desired import TrialPolicy
from contract.errors import BadInput, Code
from contract.messages import Heartbeat, ModelInterval, ModelState, Presence, Report, Telemetry, VersionRef
from controller.fleet.heard import MAX_BOOTS
from controller.fleet.selection import select
from controller.fleet.twin import DOCUMENT_LIFE_S, Twin, fold_heartbeat, fold_presence, fold_report
from controller.reconcile.decisions import SWEEP_S, reconcile
from controller.reconcile.durable import FleetRecords
from controller.reconcile.world import World
from controller.rollout.model import Rollout, Strategy, Wave
from controller.rollout.plan import Target, plan_members
from firmware_sim.durable import DurableTables
from tests.controller import reconcile_worlds
from tests.controller.reconcile_worlds import HARDWARE

V2 = VersionRef(release=2, digest="n" * 64)
FORM = replace(reconcile_worlds.FORM, digest=V2.digest)


def beat(seq: int, *states: ModelState, boot: int = 1, device: str = "a") -> Heartbeat:
    return Heartbeat(protocol=1, device=device, boot=boot, seq=seq, uptime_s=1, hardware=HARDWARE, models=states)


def state(phase: str, generation: int = 1) -> ModelState:
    return ModelState(model="m", phase=phase, generation=generation)  # type: ignore[arg-type]


def report(seq: int, phase: str, boot: int = 1) -> Report:
    return Report(protocol=1, device="a", boot=boot, seq=seq, state=state(phase))


def test_a_later_message_replaces_an_earlier_one_and_never_the_reverse() -> None:
    twin = fold_report(Twin("a"), report(5, "trial"), 1.0)
    assert fold_report(twin, report(5, "fetching"), 2.0) == twin
    assert fold_report(twin, report(4, "fetching"), 2.0) == twin
    assert fold_heartbeat(twin, beat(3, state("fetching")), 2.0).reported == twin.reported
    assert fold_report(twin, report(6, "steady"), 2.0).reported["m"].phase == "steady"


def test_a_new_boot_is_later_than_any_number_of_the_old_boot() -> None:
    twin = fold_report(Twin("a"), report(500, "trial"), 1.0)
    assert fold_report(twin, report(1, "steady", boot=2), 2.0).reported["m"].phase == "steady"


def test_presence_combines_the_brokers_message_and_the_time_since_the_last_heartbeat() -> None:
    twin = Twin("a")
    assert twin.presence(0.0, 90.0) == "unknown"
    twin = fold_heartbeat(twin, beat(1), 10.0)
    assert (twin.presence(100.0, 90.0), twin.presence(101.0, 90.0)) == ("online", "silent")
    gone = fold_presence(twin, Presence(protocol=1, device="a", online=False), 50.0)
    assert gone.presence(50.0, 90.0) == "offline"


def test_a_selector_matches_labels_and_an_error_lists_the_existing_ones() -> None:
    twins = [
        replace(Twin(name), labels={"site": site}) for name, site in (("b", "north"), ("a", "north"), ("c", "south"))
    ]
    assert select(twins, {}) == ["a", "b", "c"]
    assert select(twins, {"site": "north"}) == ["a", "b"]
    with pytest.raises(BadInput) as caught:
        select(twins, {"site": "east"})
    assert caught.value.code == Code.SELECTOR_EMPTY
    assert "site=north, site=south" in caught.value.detail


def world() -> World:
    strategy = Strategy(name="s", waves=(Wave(percent=100),))
    made = World(silent_s=90.0)
    members = plan_members("r", [Target("a"), Target("b")], strategy, {})
    made.durable.rollouts["r"] = Rollout(
        id="r", model="m", release=2, digest=V2.digest, strategy=strategy, members=members, forms=(FORM,)
    )
    return made


def test_a_pass_offers_once_and_the_generation_is_the_documents_version() -> None:
    made = world()
    changes = reconcile(made, [("a", beat(1)), ("b", beat(1, device="b"))], 0.0)
    assert changes.redesired == {"a", "b"}
    assigned = made.durable.twins["a"].desired["m"]
    assert (assigned.release, assigned.generation, made.durable.twins["a"].document_version) == (2, 1, 1)
    assert reconcile(made, [], 1.0).redesired == frozenset()


def test_an_offer_contains_the_strategys_trial_and_a_roll_back_has_no_wait() -> None:
    trial = TrialPolicy(soak_s=Decimal(7), maintenance=("02:00-03:00",), traffic_share=Decimal("0.5"))
    made = world()
    strategy = msgspec.structs.replace(made.durable.rollouts["r"].strategy, trial=trial)
    members = tuple(msgspec.structs.replace(m, previous_release=1) for m in made.durable.rollouts["r"].members)
    made.durable.rollouts["r"] = msgspec.structs.replace(made.durable.rollouts["r"], strategy=strategy, members=members)
    reconcile(made, [("a", beat(1))], 5.0)
    told = made.durable.twins["a"].desired["m"]
    assert (told.policy, told.release, told.offered_at, told.attempt) == (trial, 2, 5.0, 1)
    made.durable.rollouts["r"] = msgspec.structs.replace(made.durable.rollouts["r"], status="rolling_back")
    reconcile(made, [], 6.0)
    back = made.durable.twins["a"].desired["m"]
    assert (back.release, back.generation) == (1, told.generation + 1)
    assert (back.policy.soak_s, back.policy.maintenance, back.policy.traffic_share) == (Decimal(7), (), Decimal(1))


@pytest.mark.parametrize(("newer", "release"), [("rolled_back", 2), ("aborted", 2), ("completed", 3)])
def test_a_late_device_gets_the_newest_release_that_was_not_rolled_back(newer: str, release: int) -> None:
    made = world()
    first = msgspec.structs.replace(made.durable.rollouts["r"], status="completed", began_at=1.0)
    second = msgspec.structs.replace(first, id="r2", release=3, digest="3" * 64, status=newer, began_at=2.0)
    second = replace(second, forms=(replace(FORM, digest=second.digest, release=3),))
    made.durable.rollouts = {"r": first, "r2": second}
    reconcile(made, [("late", beat(1, device="late"))], 5.0)
    assert made.durable.twins["late"].desired["m"].release == release
    again = save_all(made)
    assert reconcile(again, [], 6.0).redesired == frozenset(), "a controller that starts again tells nobody twice"


def save_all(made: World) -> World:
    """Returns the world of a controller that was killed and starts again."""
    records = FleetRecords(DurableTables())
    records.save(made.durable, made.durable.twins, made.durable.rollouts, made.durable.quarantine)
    return records.load_world({}, 90.0)


def test_another_model_on_the_device_keeps_its_generation() -> None:
    made = world()
    reconcile(made, [], 0.0)
    made.durable.rollouts["r2"] = msgspec.structs.replace(made.durable.rollouts["r"], id="r2", model="n")
    reconcile(made, [], 1.0)
    desired = made.durable.twins["a"].desired
    assert (desired["m"].generation, desired["n"].generation) == (1, 2)


def test_a_document_is_issued_again_at_half_of_its_lifetime_without_a_new_generation() -> None:
    made = world()
    reconcile(made, [], 1000.0)
    first = made.durable.twins["a"]
    half = 1000.0 + DOCUMENT_LIFE_S / 2
    assert reconcile(made, [], half).redesired == frozenset()
    assert reconcile(made, [], half + SWEEP_S).redesired == {"a", "b"}
    assert (made.durable.twins["a"].document_version, made.durable.twins["a"].desired) == (
        int(half + SWEEP_S),
        first.desired,
    )
    assert reconcile(made, [], half + 2 * SWEEP_S).redesired == frozenset()


def test_reports_are_acknowledged_and_returned_for_the_journal() -> None:
    changes = reconcile(world(), [("a", report(3, "trial")), ("a", report(3, "trial"))], 0.0)
    assert [(device, ack.boot, ack.seq) for device, ack in changes.acks] == [("a", 1, 3)]
    assert len(changes.reports) == 2


def test_repeated_telemetry_is_counted_once_in_any_order() -> None:
    world = World(silent_s=90.0)

    def said(boot: int, seq: int) -> Telemetry:
        version = VersionRef(release=1, digest="d")
        interval = ModelInterval(model="m", version=version, inferences=1, errors=0)
        return Telemetry(protocol=1, device="a", boot=boot, seq=seq, interval_s=1.0, intervals=(interval,))

    def count() -> int:
        return world.measured.totals["a", "m", 1].inferences

    for boot, seq in ((1, 5), (1, 5), (1, 4), (1, 7), (2, 1), (1, 7), (1, 8), (2, 1)):
        reconcile(world, [("a", said(boot, seq))], 1.0)
    assert count() == 5, "1/5, 1/4, 1/7, 2/1 and 1/8, whatever their order"
    for boot in range(3, 3 + 2 * MAX_BOOTS):
        reconcile(world, [("a", said(boot, 1))], 1.0)
    assert len(world.measured.heard["a"].starts) == MAX_BOOTS


def test_telemetry_is_added_up_for_the_rollout_and_for_the_device() -> None:
    made = world()
    interval = ModelInterval(
        model="m", version=V2, inferences=10, errors=1, labelled=5, correct=4, latency_counts=(1, 9)
    )
    message = Telemetry(protocol=1, device="a", boot=1, seq=1, interval_s=1.0, intervals=(interval, interval))
    reconcile(made, [("a", message)], 0.0)
    assert made.measured.rows["r"].table().column("inferences").tolist() == [20.0]
    assert made.measured.totals["a", "m", 2].correct == 8


def test_the_same_world_and_messages_give_the_same_changes() -> None:
    inbox = [("a", beat(1)), ("b", beat(1, device="b")), ("a", report(3, "trial"))]
    worlds = [world(), world()]
    assert reconcile(worlds[0], inbox, 5.0) == reconcile(worlds[1], inbox, 5.0)
    assert worlds[0] == worlds[1]


def test_a_device_that_sends_a_nonce_gets_one_document_that_repeats_it() -> None:
    made = world()
    reconcile(made, [], 1000.0)
    before = made.durable.twins["a"]
    beat = Heartbeat(protocol=1, device="a", boot=9, seq=1, uptime_s=1, hardware=HARDWARE, nonce="n1")
    assert reconcile(made, [("a", beat)], 1001.0).redesired == {"a"}
    after = made.durable.twins["a"]
    assert (after.answered, after.document_version) == ("n1", before.document_version + 1)
    assert after.desired == before.desired, "generations stay: the device does nothing new"
    again = msgspec.structs.replace(beat, seq=2)
    assert reconcile(made, [("a", again)], 1002.0).redesired == frozenset()
    assert save_all(made).durable.twins["a"].answered == "n1", "what was signed is durable"
