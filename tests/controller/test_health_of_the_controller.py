"""Faults of the controller, who is notified, and how soon."""

import asyncio
import json
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from contract import topics
from contract.errors import BadInput, Code, WorldError
from contract.messages import Hardware, Heartbeat
from contract.wire import encode
from controller import service as service_module
from controller.api.app import make_app
from controller.api.metrics import REASONS
from controller.broker import inbox
from controller.broker.process import RunningBroker
from controller.config import Config, FleetConfig, StorageConfig
from controller.health import (
    CODES,
    EXPIRY_DAYS,
    FREE_BYTES_WANTED,
    OF_DEVICES,
    PASS_FAILING_S,
    PASS_LATE_S,
    STARTING_S,
    Facts,
    PassRecord,
    findings_of,
    lasting_findings,
    nearest_expiry,
)
from controller.registry.credentials import Credential
from controller.service import HEALTH_S, Service
from controller.state import State, open_state
from controller.verbs.health import facts_of, tell_changes

HARDWARE = Hardware(machine="m", cpus=1, memory_mb=1, python="3", onnxruntime="1", agent="0")
WELL = Facts(
    pass_age_s=0.5,
    failing_s=None,
    last_error="",
    reconcile_s=1.0,
    broker="mosquitto mqtt://127.0.0.1:1883",
    broker_connected=True,
    broker_fault="",
    free_bytes=10 * FREE_BYTES_WANTED,
    expiry_days={"role root": 300.0, "certificate server": 90.0},
    skipped={},
    foreign={},
    unreadable={},
)


class Link:
    connected = True

    def stop(self) -> None:
        pass


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    made = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path)), fleet=FleetConfig(reconcile_s=0.05)))
    made.broker, made.links = RunningBroker("mqtt://127.0.0.1:1", "external"), (Link(),)  # type: ignore[assignment]
    yield made
    made.close()


def asked(state: State, path: str = "/v1/health") -> tuple[int, Any]:
    async def run() -> tuple[int, Any]:
        async with TestClient(TestServer(make_app(state, "edg_test"))) as client:
            answer = await client.get(path, headers={"Authorization": "Bearer edg_test"})
            return answer.status, await answer.json()

    return asyncio.run(run())


def test_a_fault_that_one_device_can_cause_is_reported_and_does_not_fail_health(state: State) -> None:
    state.passes.passed(time.monotonic())
    state.credentials.add_certificate(Credential(1, "a", "no key", time.time() + 900, None))
    unsigned = Heartbeat(protocol=1, device="a", boot=1, seq=1, uptime_s=1, hardware=HARDWARE)
    assert not state.inbox.put(topics.heartbeat("a"), encode(unsigned))
    status, said = asked(state)
    assert (status, said["status"], said["findings"]) == (200, "ok", ["not_authentic"])
    assert all(code in CODES for code in OF_DEVICES)


def test_a_healthy_controller_has_no_finding() -> None:
    assert findings_of(WELL) == ()
    assert nearest_expiry(WELL) == ("certificate server", 90.0)


@pytest.mark.parametrize(
    ("fact", "code", "words"),
    [
        (
            {"failing_s": PASS_FAILING_S, "pass_age_s": 12.0, "last_error": "disk_full: x"},
            "passes_fail",
            "disk_full: x",
        ),
        ({"pass_age_s": PASS_LATE_S + 1}, "passes_late", "46 s ago"),
        ({"broker_connected": False}, "broker_lost", "trying again"),
        ({"broker_fault": "it ended 3 times"}, "broker_lost", "it ended 3 times"),
        (
            {"skipped": {"desired a": "lost", "blob 1f": "damaged"}},
            "not_published",
            "blob 1f could not be published: damaged",
        ),
        ({"skipped": {"desired a": "lost", "blob 1f": "damaged"}}, "not_published", ", and 1 more"),
        ({"foreign": {"edgeward/v1/pub/trust": "put right 2 times"}}, "retained_by_others", "trust was retained by"),
        ({"unreadable": {"devices/a": "null"}}, "rows_unreadable", "devices/a could not be read at the start: null"),
        ({"free_bytes": FREE_BYTES_WANTED - 1}, "disk_low", "268 MB are free"),
        ({"strangers": {"b": "3 messages, the newest 4 s ago"}}, "not_authentic", "not signed by b: 3 messages, the"),
        (
            {"loudest": {"b": "900 throttled messages in a minute"}},
            "messages_refused",
            "b sends most of what is dropped",
        ),
        ({"expiry_days": {"role root": EXPIRY_DAYS - 0.1}}, "expires_soon", "role root expires in 6.9 days"),
        ({"expiry_days": {"role targets": -1.0}}, "expires_soon", "role targets has expired"),
    ],
)
def test_each_fault_is_one_finding_in_words(fact: dict[str, Any], code: str, words: str) -> None:
    (found,) = findings_of(replace(WELL, **fact))
    assert found.code == code
    assert code in CODES
    assert words in found.detail


def test_a_start_is_no_fault_for_people_and_the_controller_is_not_ready_until_it_is_connected() -> None:
    starting = replace(WELL, broker_connected=False, running_s=STARTING_S - 1)
    assert lasting_findings(starting) == ()
    assert [each.code for each in findings_of(starting)] == ["broker_lost"], "what monitors get"
    late = replace(starting, running_s=STARTING_S + 1)
    ended = replace(starting, broker_fault="it ended with status 1")
    assert [each.code for facts in (late, ended) for each in lasting_findings(facts)] == ["broker_lost"] * 2


def test_a_single_pass_that_failed_is_no_finding_and_long_intervals_are_not_late() -> None:
    assert findings_of(replace(WELL, failing_s=PASS_FAILING_S - 1, last_error="x")) == ()
    assert findings_of(replace(WELL, pass_age_s=1000.0, reconcile_s=600.0)) == ()


def test_limits_and_check_intervals_add_up_to_less_than_a_minute() -> None:
    assert max(PASS_FAILING_S, PASS_LATE_S) + HEALTH_S < 60.0


def test_failing_passes_are_counted_from_the_first_and_a_good_one_resets_the_count() -> None:
    record = PassRecord(good_at=0.0)
    record.failed(5.0, "first")
    record.failed(9.0, "second")
    assert (record.failing_since, record.last_error) == (5.0, "second")
    record.passed(10.0)
    assert (record.failing_since, record.good_at) == (None, 10.0)


def test_health_answers_503_with_codes_and_the_words_need_a_token(state: State) -> None:
    status, body = asked(state)
    assert (status, body["status"], body["findings"]) == (200, "ok", [])
    state.passes.failed(time.monotonic() - PASS_FAILING_S, "disk_full: /secret/path")
    status, body = asked(state)
    assert (status, body["status"], body["findings"]) == (503, "failing", ["passes_fail"])
    assert "/secret/path" not in json.dumps(body)
    assert "/secret/path" in asked(state, "/v1/fleet")[1]["findings"][0]["detail"]


def test_metrics_contain_the_findings_of_health_without_names(state: State) -> None:
    async def scrape() -> str:
        async with TestClient(TestServer(make_app(state, "edg_test"))) as client:
            assert (await client.get("/metrics")).status == 401
            answer = await client.get("/metrics", headers={"Authorization": "Bearer edg_test"})
            assert (answer.status, answer.content_type) == (200, "text/plain")
            return await answer.text()

    text = asyncio.run(scrape())
    assert "edgeward_controller_healthy 1\n" in text
    assert all(f'edgeward_controller_finding{{code="{code}"}} 0\n' in text for code in CODES)
    state.passes.failed(time.monotonic() - PASS_FAILING_S, "disk_full: /secret/path")
    state.skipped.failed("desired secret-device", BadInput(Code.STORE_CORRUPT, "lost"), 0.0)
    state.inbox.put("edgeward/v1/d/cam-1/up/heartbeat", b"{")
    state.passes.good_at -= 100
    text = asyncio.run(scrape())
    assert "edgeward_controller_healthy 0\n" in text
    assert 'edgeward_controller_finding{code="passes_fail"} 1\n' in text
    assert "edgeward_controller_not_published 1\n" in text
    assert 'edgeward_controller_messages_dropped_total{reason="malformed"} 1\n' in text
    age = re.search(r"edgeward_controller_pass_age_seconds ([0-9.]+)", text)
    assert age is not None
    assert 100 <= float(age[1]) < 160
    assert "secret" not in text


def test_every_reason_that_the_inbox_counts_has_a_series() -> None:
    named = set(re.findall(r'counts\["(\w+)"', Path(inbox.__file__).read_text())) | {"malformed", "parts"}
    assert named == set(REASONS)


def test_an_expiring_role_or_authority_is_a_finding_and_automatically_renewed_roles_are_not(state: State) -> None:
    seen = facts_of(state).expiry_days
    assert {"role root", "role targets", "authority ca"} <= set(seen)
    assert not {"role timestamp", "role snapshot"} & set(seen)
    assert all(days > 30 for days in seen.values())


def test_findings_that_start_and_end_are_logged_once_and_sent_as_events(
    state: State, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> list[Any]:
        listener = state.events.listen()
        state.passes.began_at -= STARTING_S
        before = tell_changes(state, ())
        Link.connected = False
        try:
            before = tell_changes(state, before)
            before = tell_changes(state, before)
        finally:
            Link.connected = True
        tell_changes(state, before)
        return [listener.queue.get_nowait() for _ in range(listener.queue.qsize())]

    with caplog.at_level("INFO", logger="edgeward.controller"):
        events = asyncio.run(run())
    assert [event.type for event in events] == ["dev.edgeward.health.failing", "dev.edgeward.health.ok"]
    assert events[0].data.findings[0].code == "broker_lost"
    assert caplog.text.count("broker_lost: no connection") == 1
    assert caplog.text.count("broker_lost is over") == 1


def test_a_service_whose_every_pass_fails_reports_it(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_module, "HEALTH_S", 0.05)
    monkeypatch.setattr("controller.health.PASS_FAILING_S", 0.2)

    class Failing(Service):
        async def one_pass(self) -> None:
            raise WorldError(Code.DISK_FULL, "no space")

    async def run() -> Any:
        service = Failing(state)
        tasks = [asyncio.create_task(each) for each in (service._run(), service._watch())]
        listener = state.events.listen()
        try:
            return await asyncio.wait_for(listener.queue.get(), 10)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    event = asyncio.run(run())
    assert event.type == "dev.edgeward.health.failing"
    assert "no space" in event.data.findings[0].detail
