"""Edges of what is shown of devices: cells, reasons, faults in words, names that a version does not know, vitals."""

import math
from collections.abc import Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from contract.messages import GoldenProbe, ModelInterval, ModelState, Telemetry, VersionRef
from controller.fleet import cells
from controller.fleet.cells import FleetCells, fleet_cells
from controller.fleet.device_clock import DeviceClock
from controller.fleet.device_health import HealthWord, reason_of
from controller.fleet.faults import faults_of, golden_words
from controller.fleet.glance import Glance
from controller.fleet.invented import Names, without_invented
from controller.fleet.steps import at_once
from controller.fleet.twin import Twin
from controller.fleet.vitals import FIGURES, SPAN_S, OpenSpan

V1, V2 = (VersionRef(release=number, digest=str(number) * 64) for number in (1, 2))
RELEASES = {V1.digest: 1, V2.digest: 2}

# Cells.


def running(device: str, serving: str | None, model: str = "m", **labels: str) -> Twin:
    if serving is None:
        return Twin(device, labels=labels)
    state = ModelState(model=model, phase="steady", generation=1, serving=serving)
    return Twin(device, labels=labels, reported={model: state})


def cells_of(*fleet: Twin, health: Mapping[str, HealthWord] = {}) -> FleetCells:
    words: dict[str, HealthWord] = {twin.device: health.get(twin.device, "well") for twin in fleet}
    seen = Glance(words, {twin.device: "online" for twin in fleet})
    twins = {twin.device: twin for twin in fleet}
    return at_once(fleet_cells(twins, seen, lambda state: RELEASES.get(state.serving)))


def test_versions_are_listed_newest_first_and_each_device_has_the_character_of_its_version() -> None:
    fleet = [running("a", V1.digest), running("b", V2.digest), running("c", "?" * 64), running("d", None)]
    found = cells_of(*fleet, running("e", V1.digest))
    assert (found.versions, found.counts) == ((2, 1), (1, 2))
    (group,) = found.groups
    assert (group.names, group.version) == (("a", "b", "c", "d", "e"), "10?.1")
    assert group.version.count(".") == 1, "only a device without the model runs no version"


def test_devices_that_share_a_cell_are_sorted_worst_first_and_are_not_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "MAX_CELLS", 2)
    fleet = [running(name, V1.digest) for name in ("a", "b", "c", "d")]
    found = cells_of(*fleet, health={"c": "attention", "d": "failing"})
    assert (found.per_cell, found.groups[0].health, found.groups[0].names) == (2, "fw", ())


def test_labels_that_divide_the_fleet_are_listed_the_site_first_and_then_those_of_most_devices() -> None:
    fleet = [
        running("a", None, hall="1", line="1", site="n", one="x"),
        running("b", None, hall="1", line="2", site="s", one="x"),
        running("c", None, hall="2", line="2", one="x", own="c"),
        running("d", None, hall="2", site="s", one="x", own="d"),
        running("e", None, hall="2", line="2", one="x"),
        running("f", None, hall="2"),
    ]
    found = cells_of(*fleet)
    assert found.labels == ("site", "hall", "line"), "`one` has one value, and `own` another on each device"
    assert found.by == "site"


# Reasons and faults in words.


def test_a_device_without_an_ended_update_has_no_reason() -> None:
    assert reason_of(ModelState(model="m", phase="steady", generation=1)) == ""


def test_a_golden_probe_is_told_with_the_release_that_was_tested() -> None:
    probe = GoldenProbe(digest=V1.digest, golden="9" * 64, at=1, rows=50, missed=3, passed=False)
    state = ModelState(model="m", phase="steady", generation=1, stable=V1, golden=probe)
    words = "answers 3 of 50 golden rows beyond tolerance, golden set 999999999999"
    assert golden_words("m", state) == f"m v1 {words}"
    assert golden_words("m", replace(state, stable=None)) == f"m {words}"


@pytest.mark.parametrize(
    ("off_s", "words"),
    [(7199.0, "120 minutes ahead of"), (7200.0, "2 hours ahead of"), (-2 * 86_400.0, "2 days behind")],
)
def test_a_wrong_clock_is_told_in_the_largest_unit_of_which_there_are_two(off_s: float, words: str) -> None:
    clock = DeviceClock(boot=1, came=0.0, said=off_s, off_s=off_s, best_s=off_s, best_before_s=off_s, since=0.0)
    assert faults_of(Twin("a", clock=clock), {}, 0.0) == {"clock_wrong": f"its clock is {words} the controller's"}


# Names that a version does not know.


def test_any_class_counts_for_a_version_whose_classes_are_unknown() -> None:
    interval = ModelInterval(model="m", version=V1, inferences=3, errors=0, predictions={"dog": 2, "cat": 1})
    unknown = Names(columns=frozenset(), classes=None, groups=frozenset())
    assert without_invented(interval, unknown) == (interval, ())
    kept, words = without_invented(interval, Names(frozenset(), frozenset({"cat"}), frozenset()))
    assert (kept.predictions, words) == ({"cat": 1}, ("class 'dog'",))


# Vitals.


def vitals(*messages: Telemetry) -> dict[str, float]:
    span = OpenSpan(0.0)
    for each in messages:
        span.add(each)
    return dict(zip(FIGURES, span.vitals().means, strict=True))


def said(**fields: Any) -> Telemetry:
    return Telemetry(protocol=1, device="a", boot=1, seq=1, interval_s=60.0, **fields)


def test_a_temperature_is_kept_and_a_device_without_a_sensor_has_none() -> None:
    assert vitals(said(temperature_c=40.0), said(temperature_c=50.0), said())["temperature_c"] == 45.0
    assert math.isnan(vitals(said())["temperature_c"])


def test_any_resident_memory_above_zero_is_a_measurement() -> None:
    assert vitals(said(rss_mb=0.5), said(rss_mb=0.0))["rss_mb"] == 0.5
    assert math.isnan(vitals(said(rss_mb=0.0))["rss_mb"])


def test_a_flood_is_kept_up_to_one_message_in_half_a_second() -> None:
    span = OpenSpan(0.0)
    for _ in range(int(2 * SPAN_S) + 10):
        span.add(said())
    assert span.messages == span.vitals().messages == 2 * SPAN_S
