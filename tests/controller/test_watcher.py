"""The watcher: departures from a device's own past and its kind, a judging version, and its messages."""

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from benchmarks.vus import vus_pr
from contract.errors import BadInput, Code
from contract.messages import Heartbeat
from contract.watcher import WATCHER
from controller.alerts.defaults import RULES
from controller.config import Config, StorageConfig
from controller.fleet.vitals import FIGURES, Vitals, VitalsRows
from controller.state import State, open_state
from controller.verbs import alerts, push, watcher
from controller.watcher.departure import asked_rows, departed
from controller.watcher.features import CLIP, FEATURES, MIN_PAST_D, Fleet, departures
from controller.watcher.hours import HOUR_S, by_hour
from edgeward.answers.watcher import Watcher
from edgeward.cli.watcher import lines_of
from edgeward.client import Client
from edgeward.encode import encode_model_and_rows
from edgeward.recording import with_answers
from edgeward.transport import Transport
from edgeward.watcher.fit import FEW_MARGIN, MARGIN, episodes, fit, threshold_of
from tests.controller.heard import hear
from tests.controller.registry_worlds import version as registered
from tests.controller.test_api import HARDWARE, call

HOURS, DEVICES = 12 * 24, 8
RSS, TEMPERATURE = FIGURES.index("rss_mb"), FIGURES.index("temperature_c")


def fleet(seed: int = 0) -> Fleet:
    """Devices of one site with a daily pattern, common weather, and their own noise."""
    random = np.random.default_rng(seed)
    day = np.sin(2 * np.pi * np.arange(HOURS) / 24)[None, :, None]
    level = np.array([0.2, 90.0, 40.0, 5.0, 0.001, 12.0])
    noise = 0.02 * random.normal(size=(DEVICES, HOURS, len(FIGURES)))
    means = level * (1 + 0.1 * day + noise)
    means[:, :, TEMPERATURE] += np.cumsum(random.normal(size=HOURS))
    names = tuple(f"d{number}" for number in range(DEVICES))
    return Fleet(names, ("site",) * DEVICES, means, 0.95 * means, 1.05 * means)


def driver(made: Fleet) -> str:
    """The feature that is farthest from what is usual, of the first device in the newest hour."""
    found = departures(made, 1).features[0, -1]
    return FEATURES[int(np.argmax(np.abs(found)))]


def test_a_quiet_fleet_has_low_scores_and_weather_common_to_all_devices_does_not_count() -> None:
    found = departures(fleet())
    assert np.abs(found.features[found.known]).max() < 8
    hot = fleet()
    for part in (hot.means, hot.lows, hot.highs):
        part[:, -5:, TEMPERATURE] += 20.0
    assert np.abs(departures(hot, 1).features).max() < 8


@pytest.mark.parametrize(
    ("figure", "plant", "wanted"),
    [
        (RSS, lambda part: part[-30:] * np.linspace(1, 1.5, 30), "rss_mb_level"),
        (TEMPERATURE, lambda part: part[-30:] + 15.0, "temperature_c_level"),
    ],
)
def test_a_fault_of_one_device_is_the_feature_with_the_largest_distance(figure: int, plant: Any, wanted: str) -> None:
    made = fleet()
    for part in (made.means, made.lows, made.highs):
        part[0, -30:, figure] = plant(part[0, :, figure])
    assert driver(made) == wanted


def test_a_constant_sensor_is_found_by_its_range() -> None:
    made = fleet()
    for part in (made.means, made.lows, made.highs):
        part[0, -12:, TEMPERATURE] = made.means[0, -12, TEMPERATURE]
    found = departures(made, 1).features[0, -1]
    assert found[FEATURES.index("temperature_c_range")] < -5


def test_a_device_with_less_than_three_days_or_without_messages_is_not_judged() -> None:
    made = fleet()
    for part in (made.means, made.lows, made.highs):
        part[0, : -MIN_PAST_D * 24 + 12] = np.nan
        part[1, -1] = np.nan
    found = departures(made, 1)
    assert found.known[:, -1].tolist() == [False, False] + [True] * 6
    assert not found.features[:2].any()


def test_missing_and_absurd_values_have_a_limit() -> None:
    made = fleet()
    for part in (made.means, made.lows, made.highs):
        part[:, :, TEMPERATURE] = np.nan
        part[0, -1, RSS] = 1e30
    found = departures(made).features
    assert np.isfinite(found).all()
    assert np.abs(found).max() <= CLIP
    assert departures(Fleet((), (), *[np.empty((0, 48, 6))] * 3), 1).features.shape == (0, 1, len(FEATURES))


def test_rows_of_five_minutes_and_of_hours_become_hours() -> None:
    figures = np.array([[[level] * 6, [level - 1] * 6, [level + 1] * 6] for level in (4.0, 1.0, 4.0)], np.float32)
    starts, messages = np.array([0.0, HOUR_S, HOUR_S + 300]), np.array([9.0, 1.0, 2.0])
    rows = [VitalsRows("a", starts, messages, figures), VitalsRows("b", starts[:0], messages[:0], figures[:0])]
    found = by_hour(rows, {"a": "k"}, 2 * HOUR_S + 900.0, 3)
    assert (found.devices, found.kinds) == (("a", "b"), ("k", ""))
    assert np.isnan(found.means[0, 0]).all()
    assert found.means[0, 1:, 0].tolist() == [4.0, 3.0]
    assert (found.lows[0, 2, 0], found.highs[0, 2, 0]) == (0.0, 5.0)
    assert np.isnan(found.means[1]).all()


def test_the_feature_that_raises_the_score_most_is_named_with_its_usual_value() -> None:
    made = fleet()
    for part in (made.means, made.lows, made.highs):
        part[0, -4:, RSS] *= 1.4
    found = departures(made, 1)
    rows = asked_rows(found)
    assert rows.shape == (DEVICES * 7, len(FEATURES))
    (one,) = departed(made, found, np.square(rows).sum(axis=1).tolist(), 100.0, 7.0)
    assert (one.device, one.figure, one.sort, one.at) == ("d0", "rss_mb", "level", 7.0)
    assert one.times > 1
    assert one.says == "memory is 119.4 MB; 84.7 to 88.2 is usual at this hour: at least 30 of its spreads away"


def test_the_threshold_is_above_nine_in_ten_devices_and_higher_after_a_short_history() -> None:
    def scores(devices: int, hours: int) -> list[np.ndarray]:
        return [np.linspace(0.0, number + 1.0, hours) for number in range(devices)]

    assert threshold_of(scores(20, 720)) == MARGIN * 18
    assert threshold_of(scores(20, 72)) == FEW_MARGIN * 18
    assert threshold_of(scores(6, 72)) == FEW_MARGIN * 5, "one device of six may be ill already"
    assert threshold_of([*scores(1, 72), np.empty(0)]) == FEW_MARGIN


def test_neighbouring_hours_are_one_alert() -> None:
    hours = np.array([0.0, 1.0, 13.0, 26.0]) * HOUR_S
    assert episodes(hours, np.ones(4, bool)) == 2
    assert episodes(hours, np.zeros(4, bool)) == 0


def test_a_fleet_without_a_past_is_asked_to_wait() -> None:
    with pytest.raises(BadInput, match="500 are needed") as short:
        fit([np.zeros(9)], [np.zeros((9, len(FEATURES)))])
    assert short.value.code == Code.SAMPLE_TOO_SMALL


def test_the_client_reports_it_too_if_no_device_has_a_past(monkeypatch: pytest.MonkeyPatch) -> None:
    history = {"features": FEATURES, "devices": [{"device": "a", "hours": [], "rows": []}]}
    monkeypatch.setattr(Transport, "get", lambda self, path: history)
    with pytest.raises(BadInput, match="500 are needed"):
        Client("http://127.0.0.1:1", "t").train_watcher()


def test_a_device_that_returns_to_usual_values_is_healthy_again() -> None:
    made = fleet()
    for part in (made.means, made.lows, made.highs):
        part[0, -60:-12, RSS] *= 1.5
    assert np.abs(departures(made, 1).features[0, -1]).max() < 8, "its memory has fallen by a third since yesterday"


def test_scores_rank_an_anomaly_by_its_size_and_not_by_one_threshold() -> None:
    labels = np.zeros(300, bool)
    labels[100:130] = True
    noise = np.random.default_rng(0).random(300)
    assert vus_pr(labels, labels + 0.0) == pytest.approx(1.0)
    assert vus_pr(labels, noise) < 0.25
    late = np.zeros(300)
    late[103:133] = 1.0
    assert 0.7 < vus_pr(labels, late) < vus_pr(labels, labels + 0.0), "three hours late cost little more"


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[State]:
    made = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path / "data"))))
    monkeypatch.setattr(made.deliveries, "begin", lambda model, manifest: None)
    found, end = fleet(), time.time() // HOUR_S * HOUR_S
    for part in (found.means, found.lows, found.highs):
        part[0, -4:, RSS] *= 1.4
    for place, device in enumerate(found.devices):
        hear(made, Heartbeat(device=device, protocol=1, boot=1, seq=1, uptime_s=1, hardware=HARDWARE))
        made.vitals.keep(
            (device, Vitals(end - (HOURS - hour) * HOUR_S, HOUR_S, 60, *(tuple(part[place, hour]) for part in parts)))
            for parts in [(found.means, found.lows, found.highs)]
            for hour in range(HOURS)
        )
    yield made
    made.close()


def shown(state: State) -> Watcher:
    return Watcher.read(call(state, "GET", "/v1/watcher")[1])


def test_a_watcher_is_trained_on_the_history_pushed_and_its_verdict_becomes_an_alert(
    state: State, tmp_path: Path
) -> None:
    """The push, the conversion and the child that answers are real."""
    assert lines_of(shown(state), datetime.now(UTC)) == ["no version judges: edgeward watcher train"]
    assert not watcher.is_due(state, time.time())
    _, history = call(state, "GET", "/v1/watcher/history?days=5")
    hours = [np.array(each["hours"]) for each in history["devices"]]
    made = fit(hours, [np.array(each["rows"]) for each in history["devices"]])
    kind, raw, rows = encode_model_and_rows(made.model, made.sample)
    for name, content in (("model", raw), ("sample", with_answers(made.model, made.sample, rows, waived=False))):
        (tmp_path / name).write_bytes(content)
    told = push.Told(metrics=made.metrics)
    asyncio.run(push.push(
        state, WATCHER, kind, tmp_path / "model", tmp_path / "sample", actor="ada", tags={}, told=told,
    ))  # fmt: skip
    now = time.time()
    assert watcher.is_due(state, now)
    asyncio.run(watcher.look(state, now))
    assert not watcher.is_due(state, now)
    found = shown(state)
    assert (found.release, found.judged, found.fault) == (1, DEVICES, "")
    assert [each.device for each in found.departures] == ["d0"]
    assert "d0" in lines_of(found, datetime.now(UTC))[2]
    facts = alerts.alert_facts(state)
    rule = next(each for each in RULES if each.measure == "vitals_departure")
    (reading,) = alerts.MEASURES[rule.measure].read(rule, facts)
    assert reading.detail.startswith("d0: memory is ")
    assert not list(alerts.MEASURES[rule.measure].read(replace(rule, above=1e6), facts))


def test_a_version_without_a_threshold_or_with_other_columns_judges_nothing_and_says_so(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert watcher.threshold_of(registered()) == float("inf")
    monkeypatch.setattr(watcher, "current", lambda _: replace(registered(), lineage=replace(
        registered().lineage, metrics={"threshold": 3.0})))  # fmt: skip

    async def refuses(*_: object, **__: object) -> Any:
        raise BadInput(Code.SAMPLE_MISSING, "the version does not answer its held-out rows: 18 columns, expected 3")

    monkeypatch.setattr(watcher, "evaluate", refuses)
    now = time.time()
    asyncio.run(watcher.look(state, now))
    assert "m v1 cannot be read" in state.watch.fault, "its blobs are not there"
    monkeypatch.setattr(watcher, "stored_form", lambda *_: None)
    asyncio.run(watcher.look(state, now))
    assert "18 columns" in state.watch.fault
    assert not watcher.is_due(state, now + 1)
    assert watcher.is_due(state, now + watcher.LOOK_S)
