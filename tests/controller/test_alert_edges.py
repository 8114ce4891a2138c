"""Edges of alerts: what is not known yet, labels that a device lacks, and the words of a limit."""

import pytest
from msgspec.structs import replace

from controller.alerts import records
from controller.alerts.check import why_idle
from controller.alerts.facts import Reading
from controller.alerts.muting import has_labels
from controller.alerts.records import AlertRecords
from controller.alerts.routing import Delivered
from controller.alerts.rule import AlertFile, Rule
from controller.alerts.shown import effect_words
from controller.alerts.state import AlertState
from controller.fleet.expiry import DAY_S
from controller.fleet.twin import Twin
from controller.watcher.departure import Departure
from firmware_sim.durable import DurableTables
from tests.controller.alert_worlds import START, facts, found, of_model, the_only, twin


def test_a_device_that_was_never_heard_counts_once_the_controller_has_run_long_enough() -> None:
    rule = Rule(name="R", measure="offline_ratio", above=0.4)
    started = {"now": START + 90.0, "silent_s": 90.0}
    assert found(rule, facts(twin("a"), Twin("b"), started_at=START, **started)) == {}
    assert len(found(rule, facts(twin("a"), Twin("b"), started_at=START - 1.0, **started))) == 1


def test_a_missing_label_is_read_as_empty() -> None:
    assert has_labels({}, {"site": "*"})
    assert not has_labels({}, {"site": "X*"})
    assert not has_labels({"hall": "X"}, {"site": "X"})


def test_a_limit_of_none_is_named_if_it_has_a_meaning() -> None:
    def said(unit: str, limit: float = 0.0) -> str:
        return effect_words(Reading({}, 2.0, unit, limit, 1, "devices", "why", "it is over", "device list"))

    assert [said(unit) for unit in ("s", "days", "ratio", "devices")] == [
        "2 s, limit 0", "2 days, limit 0", "2 ratio, limit 0", "2 devices",
    ]  # fmt: skip
    assert said("devices", 3.0) == "2 devices, limit 3"


def test_a_measure_that_needs_no_number_of_devices_is_never_idle() -> None:
    rule = Rule(name="R", measure="unheard_s", above=1000.0, min_devices=5)
    assert why_idle(rule, facts(twin("a"))) == ""


def test_a_certificate_that_ends_exactly_at_the_limit_is_no_alert_yet() -> None:
    rule = Rule(name="R", measure="expiry_days", below=7)
    ends = int(START + 7 * DAY_S)
    for now, alerts in ((START, 0), (START + 1.0, 1)):
        assert len(found(rule, facts(now=now, own_expiries={"certificate": ends}))) == alerts
        assert len(found(rule, facts(twin("a", expiries={"certificate": ends}), now=now))) == alerts


def test_a_rule_about_vitals_without_a_limit_counts_every_departure() -> None:
    departure = Departure(
        device="a", at=START, times=1.5, figure="rss_mb", sort="level", spreads=9.0, past_h=336, says="memory is 99 MB"
    )
    without = Rule(name="R", measure="vitals_departure")
    assert len(found(without, facts(twin("a"), departures=(departure,)))) == 1
    assert found(replace(without, above=2.0), facts(twin("a"), departures=(departure,))) == {}


def test_a_running_rollout_without_some_of_its_waves_or_strata_is_a_stopped_one() -> None:
    rule = Rule(name="R", measure="rollout_stopped")
    assert found(rule, facts(rollouts=(of_model("running"),))) == {}
    alert = the_only(found(rule, facts(rollouts=(of_model("running", stopped_waves=(1,)),))))
    assert "is running, without wave 2" in alert.summary
    assert found(rule, facts(rollouts=(of_model("completed", stopped_waves=(1,)),))) == {}


def test_the_oldest_deliveries_are_forgotten_once_there_are_more_than_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(records, "MAX_DELIVERED", 3)
    kept = AlertRecords(DurableTables())
    for number in range(3):
        kept.put_delivered(f"g{number}", Delivered(at=START, firing=("f",)))
    assert list(kept.delivered) == ["g0", "g1", "g2"], "exactly the limit"
    kept.put_delivered("g3", Delivered(at=START, firing=("f",)))
    assert list(kept.delivered) == ["g1", "g2", "g3"]


def test_the_measure_of_an_alert_is_empty_once_the_file_has_no_such_rule() -> None:
    rule = Rule(name="R", measure="unheard_s", above=100.0)
    alert = the_only(found(rule, facts(twin("a"), now=START + 400.0)))
    names = [AlertState(AlertFile(rule=rules), "", "", AlertRecords(DurableTables())) for rules in ((rule,), ())]
    assert [each.measure_of(alert) for each in names] == ["unheard_s", ""]
