"""Alerts over HTTP, and the looks of a service: paging, silences with their audit, files that are tried."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from contract.errors import BadInput, Code
from controller.alerts.measures import MEASURES
from controller.config import AlertsConfig, Config, StorageConfig
from controller.events.notifier import Notifier
from controller.state import State, open_state
from controller.verbs import alerts as verb
from controller.verbs.alerts import look_again
from tests.controller.alert_worlds import twin
from tests.controller.test_api import AUTH, talk

RULES = """
[[rule]]
name = "Disk"
measure = "device_fault"
codes = ["disk_full"]
[[rule]]
name = "Clock"
measure = "clock_off_s"
above = 60
for_s = 600
"""


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    (tmp_path / "alerts.toml").write_text(RULES)
    config = Config(
        storage=StorageConfig(data_dir=str(tmp_path / "data")), alerts=AlertsConfig(file=str(tmp_path / "alerts.toml"))
    )
    made = open_state(config)
    now = time.time()
    for number in range(5):
        ahead = int(now) + (500 if number == 0 else 0)
        made.world.durable.twins[f"d{number}"] = twin(f"d{number}", now, faults={"disk_full": "0 B"}, at=ahead)
    yield made
    made.close()


def look(state: State) -> None:
    state.alerts.next_look = 0.0
    asyncio.run(look_again(state, Notifier((), Path(), lambda *_: None)))


def call(state: State, *calls: tuple[str, str, Any]) -> list[Any]:
    async def script(client: TestClient) -> list[Any]:
        answers = []
        for method, path, body in calls:
            answer = await client.request(method, path, headers=AUTH, json=body)
            answers.append((answer.status, await answer.json()))
        return answers

    return list(talk(state, script))


def test_alerts_are_paged_filtered_by_state_and_label_and_shown_with_all_details(state: State) -> None:
    look(state)
    page, pending, one, bad = call(
        state,
        ("GET", "/v1/alerts?state=firing&limit=2&offset=4", None),
        ("GET", "/v1/alerts?state=pending", None),
        ("GET", "/v1/alerts?match=device%3Dd3&match=alertname%3DDi*", None),
        ("GET", "/v1/alerts?state=on_fire", None),
    )
    assert (page[1]["total"], len(page[1]["items"])) == (5, 1)
    assert [(each["name"], each["starts_at"], each["for_s"]) for each in pending[1]["items"]] == [
        ("Clock", None, 600.0)
    ]
    (shown,) = one[1]["items"]
    assert (shown["labels"]["code"], shown["n"], shown["of"]) == ("disk_full", 1, "devices")
    assert shown["annotations"]["look"] == "edgeward device show d3"
    assert (bad[0], bad[1]["code"]) == (422, "request_invalid")
    detail, unknown = call(state, ("GET", f"/v1/alerts/{shown['fingerprint']}", None), ("GET", "/v1/alerts/feed", None))
    assert detail[1] == {**shown, "past": []}
    assert (unknown[0], unknown[1]["code"]) == (404, "unknown_alert")


def test_a_silence_is_audited_applies_at_once_and_after_a_restart_and_can_be_ended(state: State) -> None:
    look(state)
    matchers = [{"name": "device", "value": "d1", "equal": True}]
    ends = "2100-01-01T00:00:00+00:00"
    long, made = call(
        state,
        ("POST", "/v1/silences", {"matchers": matchers, "reason": "known", "ends_at": ends}),
        ("POST", "/v1/silences", {"matchers": matchers, "reason": "known", "ends_at": _in(3600)}),
    )
    assert (long[0], "within 90 days" in long[1]["detail"]) == (422, True)
    assert (made[1]["created_by"], made[1]["state"], made[1]["alerts"]) == ("local:ada", "active", 1)
    (quiet,) = call(state, ("GET", "/v1/alerts?state=silenced", None))
    assert [each["silenced_by"] for each in quiet[1]["items"]] == [[made[1]["id"]]]
    assert list(state.alerts.records.silences) == list(type(state.alerts.records)(state.tables).silences)
    ended, again, unknown = call(
        state,
        ("DELETE", f"/v1/silences/{made[1]['id']}", None),
        ("DELETE", f"/v1/silences/{made[1]['id']}", None),
        ("DELETE", "/v1/silences/none", None),
    )
    assert (ended[1]["state"], again[0], unknown[1]["code"]) == ("expired", 422, "unknown_silence")
    entries = [(each["action"], each["actor"]) for each in state.journal.audit_entries(2)]
    assert entries == [("alert unsilence", "local:ada"), ("alert silence", "local:ada")]


def _in(seconds: float) -> str:
    from controller.clock import stamp_of

    return stamp_of(time.time() + seconds)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"reason": " "}, "say why"),
    ({"matchers": []}, "length >= 1"),
    ({"matchers": [{"name": "device", "value": "*"}]}, "every alert there may be"),
    ({"ends_at": "2001-01-01T00:00:00+00:00"}, "in the future"),
    ({"ends_at": "tomorrow"}, "expected a date and time with a zone"),
    ({"ends_at": "2100-01-01T00:00:00"}, "expected a date and time with a zone"),
    ({"matchers": [{"name": "device", "value": "x" * 300}]}, "length <= 256"),
]


def test_a_wrong_silence_is_refused_in_words(state: State) -> None:
    right = {"matchers": [{"name": "device", "value": "d1"}], "reason": "known", "ends_at": _in(60)}
    answers = call(state, *(("POST", "/v1/silences", {**right, **body}) for body, _ in WRONG))
    assert {status for status, _ in answers} <= {400, 422}
    assert [words for (_, words), (_, said) in zip(WRONG, answers, strict=True) if words not in said["detail"]] == []
    assert state.alerts.records.silences == {}


def test_programs_that_read_an_alertmanager_can_read_this_controller(state: State) -> None:
    look(state)
    every, one, none = call(
        state,
        ("GET", "/api/v2/alerts", None),
        ("GET", '/api/v2/alerts?filter=device="d2"&silenced=false', None),
        ("GET", "/api/v2/alerts?active=false", None),
    )
    assert (len(every[1]), len(one[1]), none[1]) == (5, 1, []), "what is pending is not there"
    alert = one[1][0]
    assert set(alert) == {
        "annotations", "endsAt", "fingerprint", "labels", "receivers", "startsAt", "status", "updatedAt",
    }  # fmt: skip
    assert alert["status"] == {"state": "active", "silencedBy": [], "inhibitedBy": []}


def test_a_rules_file_is_tested_on_this_fleet_and_a_rule_that_cannot_trip_is_refused_with_its_line(
    state: State,
) -> None:
    idle = RULES + '[[rule]]\nname = "Many"\nmeasure = "offline_ratio"\nabove = 0.2\nmin_devices = 50\n'
    right, refused = call(
        state,
        ("POST", "/v1/alert-rules/test", {"text": RULES, "source": "mine.toml"}),
        ("POST", "/v1/alert-rules/test", {"text": idle, "source": "mine.toml"}),
    )
    assert (right[1]["rules"], len(right[1]["alerts"])) == (2, 6)
    assert (refused[0], refused[1]["code"]) == (422, "alert_rule_invalid")
    assert refused[1]["detail"].startswith("mine.toml:11: Many: min_devices = 50, and the fleet has 5: 45 too few")
    assert state.alerts.records.active == {}, "nothing has changed"


def test_running_rules_report_their_state_and_count_faults(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = MEASURES["clock_off_s"].__class__(lambda *_: 1 / 0, "", frozenset())  # type: ignore[arg-type,return-value]
    monkeypatch.setitem(MEASURES, "clock_off_s", broken)
    look(state)
    ((_, said),) = call(state, ("GET", "/v1/alert-rules", None))
    disk, clock = said["rules"]
    assert (disk["alerts"], disk["fault"]) == ({"firing": 5}, "")
    assert clock["fault"] == "ZeroDivisionError: division by zero"
    assert state.alerts.rule_faults == 1


def test_a_changed_alert_is_sent_as_an_event(state: State) -> None:
    listener = state.events.listen()
    look(state)
    told = [listener.queue.get_nowait() for _ in range(listener.queue.qsize())]
    assert sorted(event.type for event in told) == ["dev.edgeward.alert.firing"] * 5 + ["dev.edgeward.alert.pending"]


def test_an_outage_sends_a_limited_number_of_events_and_every_alert_is_in_the_list(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verb, "MAX_TOLD", 2)
    listener = state.events.listen()
    look(state)
    assert listener.queue.qsize() == 2
    ((_, page),) = call(state, ("GET", "/v1/alerts", None))
    assert page["total"] == 6


def test_evaluations_keep_their_interval_and_use_a_limited_part_of_a_core(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    look(state)
    assert state.alerts.next_look - time.monotonic() == pytest.approx(state.config.alerts.every_s, abs=1.0)
    monkeypatch.setattr(verb, "MAX_COST", 1e-5)
    began = time.monotonic()
    look(state)
    assert state.alerts.next_look - began >= state.alerts.look_s / 1e-5 > state.config.alerts.every_s


def test_a_controller_with_a_malformed_file_does_not_start_and_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text('[[rule]]\nname = "A"\nmeasure = "rain"\n')
    with pytest.raises(BadInput) as caught:
        open_state(Config(storage=StorageConfig(data_dir=str(tmp_path / "d")), alerts=AlertsConfig(file=str(path))))
    assert (caught.value.code, f"{path}:3: " in caught.value.detail) == (Code.ALERT_RULE_INVALID, True)


def test_an_unknown_receiver_cannot_be_tested(state: State) -> None:
    ((status, said),) = call(state, ("POST", "/v1/alert-receivers/none/test", None))
    assert (status, said["code"]) == (404, "unknown_receiver")


def test_alerts_are_filtered_by_severity_device_and_words_and_the_counts_are_of_those_that_fit(state: State) -> None:
    look(state)
    asked = ("", "&device=d0", "&device=d0,d1&severity=warning", "&q=DISK+d3", "&q=nothing", "&severity=info")
    pages = [
        body for _, body in call(state, *(("GET", f"/v1/alerts?state=firing&limit=1{each}", None) for each in asked))
    ]
    totals = [page["total"] for page in pages]
    assert totals[0] == 5
    assert totals[1:] == [1, 2, 1, 0, 0]
    assert [page["counts"]["firing"] for page in pages] == totals
    assert pages[1]["counts"]["pending"] == 1, "the clock of d0, whatever state is asked for"
