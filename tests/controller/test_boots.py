"""The order of a device's messages: starts of its agent, repetitions, late messages, and a second device."""

from contract.messages import Hardware, Heartbeat, ModelState, Phase, Presence, Report
from controller.fleet.boots import (
    FORGOTTEN_S,
    MAX_PAST_BOOTS,
    RETURNS_OF_A_COPY,
    SPACING_S,
    TAKES_OVER_S,
    Boot,
    Boots,
    of_past,
)
from controller.fleet.twin import Twin, fold_presence
from controller.reconcile.decisions import reconcile
from controller.reconcile.durable import FleetRecords
from controller.reconcile.world import World
from firmware_sim.durable import DurableTables

BACKUP, LATER, COPY = 7, 5, 3
"""Numbers of starts. The later one is smaller: nothing may compare them."""


def after(boots: Boots, *messages: tuple[int, int, float]) -> tuple[Boots, list[bool]]:
    """Returns the starts after (boot, seq, time) of each message, and which of these were new."""
    news = []
    for boot, seq, now in messages:
        boots, is_news = boots.heard(boot, seq, now)
        news.append(is_news)
    return boots, news


def test_a_message_of_an_unknown_start_is_new_at_once_for_any_number() -> None:
    boots, news = after(Boots(), (BACKUP, 900, 0.0), (LATER, 1, 10.0), (COPY, 1, 20.0))
    assert news == [True, True, True]
    assert boots.current == Boot(COPY, 1, began_at=20.0, heard_at=20.0)
    assert boots.kept() == ((BACKUP, 900), (LATER, 1))


def test_within_a_start_only_a_higher_number_is_new() -> None:
    boots, news = after(Boots(), (BACKUP, 2, 0.0), (BACKUP, 2, 1.0), (BACKUP, 1, 1.0), (BACKUP, 3, 1.0))
    assert news == [True, False, False, True]
    assert boots.current == Boot(BACKUP, 3, began_at=0.0, heard_at=1.0)


def test_a_message_of_an_earlier_start_is_never_new_again() -> None:
    """A broker that holds signed reports back and delivers them later changes nothing."""
    boots, _ = after(Boots(), (BACKUP, 5, 0.0), (LATER, 1, 10.0))
    again, news = after(boots, *((BACKUP, seq, 1e6) for seq in range(6)))
    assert not any(news)
    assert again == boots


def test_a_late_message_of_the_earlier_start_changes_nothing_and_reports_no_copy() -> None:
    boots, news = after(Boots(), (BACKUP, 5, 0.0), (LATER, 1, 10.0), (BACKUP, 6, 30.0))
    assert news[-1] is False
    assert boots.current is not None
    assert boots.current.id == LATER
    assert not boots.is_taken(30.0)


def test_messages_that_waited_together_in_a_broker_are_not_a_second_device() -> None:
    waiting = [(BACKUP, 6 + number, 10.0 + number / 10) for number in range(40)]
    boots, _ = after(Boots(), (BACKUP, 5, 0.0), (LATER, 1, 10.0), *waiting)
    assert not boots.is_taken(14.0)


def test_an_earlier_start_that_still_sends_is_heard_once_the_newest_is_silent() -> None:
    """The last message came from the earlier start; it must not lock the device out."""
    boots, _ = after(Boots(), (LATER, 1, 10.0), (BACKUP, 1, 10.1))
    at_the_limit, news = after(boots, (LATER, 2, 10.1 + TAKES_OVER_S))
    assert news == [False]
    boots, news = after(at_the_limit, (LATER, 3, 10.2 + TAKES_OVER_S))
    assert news == [True]
    assert boots.current is not None
    assert (boots.current.id, boots.kept()) == (LATER, ((BACKUP, 1),))


def test_two_devices_under_one_name_are_noticed_within_two_heartbeats_and_forgotten_when_one_ends() -> None:
    beats = [
        (device, seq, 30.0 * seq + offset) for seq in range(1, 6) for device, offset in ((LATER, 0.0), (COPY, 9.0))
    ]
    boots, taken_at = Boots(), None
    for device, seq, now in beats:
        boots, _ = boots.heard(device, seq, now)
        if taken_at is None and boots.is_taken(now):
            taken_at = now - 39.0  # since the first message of the copy
    assert taken_at is not None
    assert taken_at <= 60.0
    last = beats[-2][2]
    assert boots.is_taken(last + FORGOTTEN_S)
    assert not boots.is_taken(last + FORGOTTEN_S + 1.0)


def test_one_restart_after_the_other_is_not_a_second_device() -> None:
    boots, _ = after(Boots(), *((number, seq, 100.0 * number + seq) for number in range(1, 50) for seq in range(1, 9)))
    assert not boots.is_taken(5000.0)
    assert len(boots.past) == MAX_PAST_BOOTS


def test_a_return_counts_from_a_number_of_seconds_after_the_newest_start() -> None:
    boots, _ = after(Boots(), (BACKUP, 1, 0.0), (LATER, 1, 100.0), (BACKUP, 2, 100.0 + SPACING_S))
    assert boots.past[0].returns == 1
    early, _ = after(Boots(), (BACKUP, 1, 0.0), (LATER, 1, 100.0), (BACKUP, 2, 99.9 + SPACING_S))
    assert early.past[0].returns == 0
    assert RETURNS_OF_A_COPY == 2, "one may be a late message"


def test_a_restarted_controller_knows_earlier_starts() -> None:
    boots, news = after(of_past(((BACKUP, 5),)), (BACKUP, 5, 0.0), (LATER, 1, 1.0))
    assert news == [False, True]
    assert boots.kept() == ((BACKUP, 5),)


def test_a_replay_is_not_new_after_the_controller_has_restarted() -> None:
    tables = DurableTables()
    records = FleetRecords(tables)
    world = World(silent_s=90.0)

    def told(boot: int, seq: int, phase: Phase) -> tuple[str, Report]:
        state = ModelState(model="m", phase=phase, generation=1)
        return "d", Report(protocol=1, device="d", boot=boot, seq=seq, state=state)

    changes = reconcile(world, [told(BACKUP, 5, "trial"), told(LATER, 1, "steady")], 10.0)
    assert changes.restarted == {"d"}
    records.save(world.durable, changes.restarted, [], [])
    again = FleetRecords(tables).load_world({}, 90.0)
    reconcile(again, [told(LATER, 2, "steady"), told(BACKUP, 5, "trial")], 1000.0)
    assert again.durable.twins["d"].reported["m"].phase == "steady"


def test_a_replayed_heartbeat_is_not_stored_as_the_last_heartbeat_of_a_device() -> None:
    def beat(boot: int, seq: int) -> tuple[str, Heartbeat]:
        hardware = Hardware(machine="m", cpus=1, memory_mb=1, python="", onnxruntime="", agent="")
        return "d", Heartbeat(protocol=1, device="d", boot=boot, seq=seq, uptime_s=1, hardware=hardware)

    world = World(silent_s=90.0)
    reconcile(world, [beat(BACKUP, 5), beat(LATER, 1)], 10.0)
    assert reconcile(world, [beat(BACKUP, 5), beat(BACKUP, 6)], 20.0).heartbeats == ()
    assert [told.seq for _, told in reconcile(world, [beat(LATER, 2)], 30.0).heartbeats] == [2]


def test_the_last_will_of_an_earlier_start_does_not_mark_the_newest_offline() -> None:
    def said(boot: int, *, online: bool) -> Presence:
        return Presence(protocol=1, device="d", online=online, boot=boot)

    twin = fold_presence(Twin("d"), said(BACKUP, online=True), 0.0)
    twin = fold_presence(twin, said(LATER, online=True), 10.0)
    assert fold_presence(twin, said(BACKUP, online=False), 11.0).connected is True
    assert fold_presence(twin, said(LATER, online=False), 11.0).connected is False
    assert fold_presence(twin, said(0, online=False), 11.0).connected is False
