"""From readings to messages: states, silences, inhibition, groups, and what a restarted controller knows."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from contract.errors import BadInput, Code, WorldError
from controller.alerts.alert import MAX_ALERTS_OF_A_RULE, Alert, Look, look
from controller.alerts.defaults import DEFAULTS
from controller.alerts.measures import MEASURES
from controller.alerts.muting import Matcher, Silence, muted, read_matcher, text_matches
from controller.alerts.records import MAX_ENDED, TABLES, AlertRecords
from controller.alerts.routing import Delivered, Due, due_messages
from controller.alerts.rule import Inhibition, Rule, WebhookReceiver
from controller.health import Finding
from controller.registry.fleet_tables import FleetTables
from tests.controller.alert_worlds import START, facts, twin

UNHEARD = Rule(name="DeviceUnheard", measure="unheard_s", above=300.0, for_s=60.0)
GONE = twin("a", START - 1_000)


def at(now: float, before: Look | None = None, rule: Rule = UNHEARD, **fields: Any) -> Look:
    twins = fields.pop("twins", (GONE,))
    return look([rule], facts(*twins, now=now, **fields), before.active if before else {}, {})


def states(result: Look) -> list[str]:
    return [alert.state for alert in result.active.values()]


def test_an_alert_is_pending_then_fires_then_is_resolved_and_each_step_is_returned_once() -> None:
    first = at(START)
    second = at(START + 59, first)
    third = at(START + 60, second)
    fourth = at(START + 61, third)
    over = at(START + 70, fourth, twins=(twin("a", START + 70),))
    steps = [[alert.state for alert in each.changed] for each in (first, second, third, fourth, over)]
    assert steps == [["pending"], [], ["firing"], [], ["resolved"]]
    (ended,) = over.changed
    assert (ended.since, ended.starts_at, ended.ends_at) == (START, START + 60, START + 70)
    assert over.active == {}


def test_a_restarted_controller_does_not_report_devices_as_back_before_it_could_have_heard_them() -> None:
    unheard = replace(GONE, seen_at=None, connected=None)
    fires = at(START + 60, at(START))
    start = START + 100.0
    kept = at(start + 1, fires, twins=(unheard,), started_at=start)
    assert (states(kept), kept.changed) == (["firing"], [])
    still = at(start + 390, kept, twins=(unheard,), started_at=start)
    assert [alert.starts_at for alert in still.active.values()] == [START + 60], "found again, and never told twice"
    heard = at(start + 5, kept, twins=(twin("a", start + 4),), started_at=start)
    assert [alert.state for alert in heard.changed] == ["resolved"], "it is back"


def test_a_ratio_of_devices_waits_after_a_start_until_devices_could_have_been_heard() -> None:
    rule = Rule(name="R", measure="offline_ratio", above=0.5)
    fires = at(START, rule=rule)
    start = START + 100.0
    unknown, back = replace(GONE, seen_at=None, connected=None), twin("a", start + 95)
    kept = at(start + 80, fires, rule, twins=(unknown,), started_at=start)
    assert states(kept) == ["firing"]
    assert states(at(start + 95, kept, rule, twins=(unknown,), started_at=start)) == ["firing"]
    assert states(at(start + 95, kept, rule, twins=(back,), started_at=start)) == []


def test_an_alert_that_was_only_pending_leaves_no_history() -> None:
    over = at(START + 30, at(START), twins=(twin("a", START + 30),))
    assert (over.active, over.changed, len(over.gone)) == ({}, [], 1)


def test_an_alert_that_ends_and_starts_again_within_keep_s_is_one_alert() -> None:
    rule = Rule(name="R", measure="unheard_s", above=300.0, keep_s=50.0)
    fires = at(START, rule=rule)
    held = at(START + 40, fires, rule, twins=(twin("a", START + 40),))
    again = at(START + 45, held, rule)
    assert [states(fires), states(held), states(again)] == [["firing"]] * 3
    assert (held.changed, again.changed) == ([], [])
    ended = at(START + 99, again, rule, twins=(twin("a", START + 99),))
    assert [alert.state for alert in ended.changed] == ["resolved"]


def test_the_alerts_of_a_removed_rule_end_at_once() -> None:
    fires = at(START + 60, at(START))
    assert [alert.state for alert in look([], facts(GONE, now=START + 60.5), fires.active, {}).changed] == ["resolved"]


def test_a_rule_that_raises_leaves_its_alerts_unchanged_and_the_other_rules_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sensors = Rule(name="Clock", measure="clock_off_s", above=1.0)
    before = at(START - 100)
    broken = MEASURES["unheard_s"].__class__(_raise, "", frozenset())
    monkeypatch.setitem(MEASURES, "unheard_s", broken)
    ahead = twin("b", START, at=int(START) + 500)
    result = look([UNHEARD, sensors], facts(GONE, ahead, now=START), before.active, {})
    assert sorted(alert.name for alert in result.active.values()) == ["Clock", "DeviceUnheard"]
    assert result.status["DeviceUnheard"].fault == "ZeroDivisionError: a planted fault"
    assert result.status["Clock"].fault == ""


def _raise(*_: object) -> Iterator[Any]:
    raise ZeroDivisionError("a planted fault")
    yield


def test_a_missing_fleet_gives_a_limited_number_of_alerts_and_the_rest_is_counted() -> None:
    twins = [twin(f"d{n}", START - 1_000) for n in range(MAX_ALERTS_OF_A_RULE + 7)]
    result = look([UNHEARD], facts(*twins), {}, {})
    status = result.status["DeviceUnheard"]
    assert (len(result.active), status.found, status.left_out) == (MAX_ALERTS_OF_A_RULE, MAX_ALERTS_OF_A_RULE + 7, 7)


def test_a_rule_that_cannot_trip_ends_its_alerts() -> None:
    fires = at(START + 60, at(START))
    result = look([UNHEARD], facts(GONE, now=START + 61), fires.active, {"DeviceUnheard": "too few devices"})
    assert ([alert.state for alert in result.changed], result.status["DeviceUnheard"].idle) == (
        ["resolved"], "too few devices",
    )  # fmt: skip


def silence(*matchers: Matcher, ends_at: float = START + 500) -> Silence:
    return Silence(id="s1", matchers=matchers, starts_at=START, ends_at=ends_at, created_by="kim", reason="known")


def test_a_silence_mutes_matching_alerts_until_it_ends() -> None:
    fires = at(START + 60, at(START)).active
    (name,) = fires
    quiet = silence(read_matcher("device=a"), read_matcher("alertname=Device*"))
    assert muted(fires.values(), [quiet], (), START + 60)[name].word("firing") == "silenced"
    assert muted(fires.values(), [quiet], (), START + 500) == {}, "it has ended"
    assert muted(fires.values(), [quiet], (), START - 1) == {}, "it has not begun"
    assert muted(fires.values(), [silence(read_matcher("device!=a"))], (), START + 60) == {}


def test_a_star_matches_any_text_and_no_other_character_is_special() -> None:
    assert text_matches("north-1", "north*")
    assert text_matches("a[1]?", "a[1]?*")
    assert not text_matches("a1x", "a[1]?*")
    assert not text_matches("north", "no.*h")
    for bad in ("device", "=x", "!=x", "a b=c"):
        with pytest.raises(BadInput):
            read_matcher(bad)


def test_without_a_broker_devices_are_not_reported_as_missing() -> None:
    twins = [twin(f"d{n}", START - 1_000) for n in range(10)]
    lost = facts(*twins, findings=(Finding(code="broker_lost", detail="no connection"),))
    first = look(DEFAULTS.rule, lost, {}, {})
    active = look(DEFAULTS.rule, facts(*twins, now=START + 200, findings=lost.findings), first.active, {}).active
    why = muted(active.values(), (), DEFAULTS.inhibit, START + 200)
    told = {alert.name for alert in active.values() if alert.fingerprint not in why}
    assert told == {"ControllerUnwell"}
    assert {alert.name for alert in active.values()} == {"ControllerUnwell", "DevicesOffline", "DeviceUnheard"}


def test_an_alert_does_not_inhibit_itself_and_the_named_labels_must_be_equal() -> None:
    fires = look([Rule(name="R", measure="unheard_s", above=300.0)], facts(GONE, twin("b", 0.0)), {}, {}).active
    everything = Inhibition(source={"alertname": "R"}, target={"alertname": "R"}, equal=("device",))
    assert muted(fires.values(), (), [everything], START) == {}


HOOK = WebhookReceiver(name="hook", url="http://x", group_wait_s=10.0, group_interval_s=100.0, repeat_s=1_000.0)


class Told:
    """Returns a receiver that accepts every message, and its list of messages."""

    def __init__(self, receiver: WebhookReceiver = HOOK) -> None:
        self.receiver = receiver
        self.delivered: dict[str, Delivered] = {}
        self.active: dict[str, Alert] = {}
        self.resolved: dict[str, Alert] = {}

    def look(self, now: float, *gone: str) -> list[tuple[int, int]]:
        """Returns (firing, resolved) of each due message while these devices are offline."""
        rule = Rule(name="R", measure="unheard_s", above=300.0)
        result = look([rule], facts(*(twin(device, 0.0) for device in gone), now=now), self.active, {})
        self.active = result.active
        self.resolved.update({each.fingerprint: each for each in result.changed if each.state == "resolved"})
        over = {name: each for name, each in self.resolved.items() if name not in self.active}
        messages = due_messages([self.receiver], self.active.values(), over, self.delivered, now)
        for due in messages:
            self.delivered[due.group] = Delivered(now, due.delivered)
        return [(len(due.firing), len(due.resolved)) for due in messages]


def test_a_group_waits_for_more_alerts_then_for_its_interval_then_repeats_and_reports_its_end() -> None:
    told = Told()
    assert told.look(START, "a") == [], "it waits for others"
    assert told.look(START + 10, "a", "b") == [(2, 0)]
    assert told.look(START + 50, "a", "b", "c") == [], "within the interval"
    assert told.look(START + 110, "a", "b", "c") == [(3, 0)]
    assert told.look(START + 300, "b", "c") == [(2, 1)]
    assert told.look(START + 1_200, "b", "c") == []
    assert told.look(START + 1_300, "b", "c") == [(2, 0)], "a repeat"
    assert told.look(START + 1_301) == [(0, 2)], "at once"
    assert told.look(START + 9_999) == []


def test_an_alert_muted_after_its_notification_is_not_repeated_and_its_end_is_sent() -> None:
    told = Told()
    told.look(START, "a")
    assert told.look(START + 10, "a") == [(1, 0)]
    quiet = due_messages([HOOK], [], {}, told.delivered, START + 5_000)
    assert quiet == []
    assert told.look(START + 6_000) == [(0, 1)]


def test_a_receiver_gets_only_the_alerts_that_it_selects() -> None:
    fires = look([Rule(name="R", measure="unheard_s", above=300.0)], facts(GONE), {}, {}).active
    critical = WebhookReceiver(name="c", url="http://x", match={"severity": "critical"}, group_wait_s=0.0)
    each_device = WebhookReceiver(
        name="d", url="http://x", match={"device": "*"}, group_by=("device",), group_wait_s=0.0
    )
    found: list[Due] = due_messages([critical, each_device], fires.values(), {}, {}, START)
    assert [(due.receiver, due.group_labels) for due in found] == [("d", {"device": "a"})]


@pytest.fixture
def tables(tmp_path: Path) -> FleetTables:
    return FleetTables(tmp_path / "fleet.sqlite", TABLES)


def test_a_restarted_controller_keeps_alerts_silences_and_sent_notifications(tables: FleetTables) -> None:
    records, first = AlertRecords(tables), at(START)
    records.save(first)
    records.save(at(START + 60, first))
    records.put_silence(silence(read_matcher("device=a")), START)
    records.put_delivered("g", Delivered(START, ("f",)))
    again = AlertRecords(tables)
    assert (again.active, again.silences, again.delivered) == (records.active, records.silences, records.delivered)
    again.put_delivered("g", Delivered(START + 1))
    assert (again.delivered, AlertRecords(tables).delivered) == ({}, {}), "a group of which all is over"
    over = at(START + 90, Look(active=again.active), twins=(twin("a", START + 90),))
    again.save(over)
    last = AlertRecords(tables)
    assert (last.active, [each.state for each in last.ended.values()]) == ({}, ["resolved"])


def test_the_history_is_limited_and_the_oldest_entry_is_dropped_first(tables: FleetTables) -> None:
    records = AlertRecords(tables)
    ended = at(START + 61, at(START + 60, at(START)), twins=(twin("a", START + 61),)).changed[0]
    many = [Alert(**{**_fields(ended), "fingerprint": f"{n:016x}", "ends_at": START + n}) for n in range(MAX_ENDED + 3)]
    records.save(Look(changed=many[:MAX_ENDED]))
    records.save(Look(changed=many[MAX_ENDED:]))
    assert len(records.ended) == len(AlertRecords(tables).ended) == MAX_ENDED
    assert next(iter(records.ended.values())).ends_at == START + 3


def _fields(alert: Alert) -> dict[str, Any]:
    return {name: getattr(alert, name) for name in Alert.__struct_fields__}


def test_an_alert_that_could_not_be_written_is_found_again(
    tables: FleetTables, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = AlertRecords(tables)
    with monkeypatch.context() as full:
        full.setattr(tables, "write", lambda _: (_ for _ in ()).throw(WorldError(Code.DISK_FULL, "x")))
        with pytest.raises(WorldError):
            records.save(at(START))
    assert records.active == {}
    records.save(at(START + 1))
    assert states(Look(active=records.active)) == ["pending"]
