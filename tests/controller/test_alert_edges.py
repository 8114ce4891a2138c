"""Edges of alerts: what is not known yet, labels that a device lacks, and the words of a limit."""

from controller.alerts.check import why_idle
from controller.alerts.facts import Reading
from controller.alerts.muting import has_labels
from controller.alerts.rule import Rule
from controller.alerts.shown import effect_words
from controller.fleet.twin import Twin
from tests.controller.alert_worlds import START, facts, found, twin


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
