"""A rollout that has ended is one trace: the content of its spans, and their way to a collector."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from contract.errors import BadInput
from contract.messages import ModelState, UpdateOutcome, VersionRef
from controller.config import TracesConfig
from controller.events import traces
from controller.events.traces import Traces, trace_of
from controller.rollout.model import Member, Rollout, Strategy, Wave
from controller.rollout.trace import MAX_DEVICES, Deed, Pushed, Span, Told, spans_of, trace_id_of, traced_devices

NEW, OLD = VersionRef(release=2, digest="b" * 64), VersionRef(release=1, digest="a" * 64)
ROLLOUT = Rollout(
    id="r-7", model="pump", release=2, digest=NEW.digest, created_at="2026-11-27T10:00:00+00:00", created_by="ada",
    strategy=Strategy(name="s", waves=(Wave(percent=50), Wave(percent=100))), wave=1, status="rolled_back",
    members=(Member(device="a", wave=0), Member(device="b", wave=1), Member(device="c", wave=1)),
    reason="accuracy_drop",
)  # fmt: skip
DEEDS = (Deed(130.0, "rollout start", "ada"), Deed(140.0, "rollout approve", "bob"), Deed(200.0, "rollout wave", "c"))
PUSHED = Pushed(100.0, "ada", conversion_s=8.0, gates_s=2.0)


def state(phase: str, result: str = "", code: str = "") -> ModelState:
    ended = UpdateOutcome(generation=2, version=NEW, result=result, code=code, detail="said") if result else None  # type: ignore[arg-type]
    return ModelState(
        model="pump", phase=phase, generation=2, stable=OLD, outcome=ended,  # type: ignore[arg-type]
        target=NEW if phase in {"fetching", "probing", "ready"} else None, trial=NEW if phase == "trial" else None,
    )  # fmt: skip


def update(begins: float, result: str, code: str = "") -> list[Told]:
    phases = [Told(begins + 10 * at, state(name)) for at, name in enumerate(("fetching", "probing", "ready", "trial"))]
    return [Told(begins - 60, state("steady")), *phases, Told(begins + 60, state("steady", result, code))]


def made() -> list[Span]:
    told = {"a": update(141.0, "confirmed"), "b": update(201.0, "rolled_back", "health_accuracy"), "c": []}
    return spans_of(ROLLOUT, PUSHED, DEEDS, told, 300.0)


def under(spans: Sequence[Span], name: str) -> list[tuple[str, float, float]]:
    at = next(number for number, span in enumerate(spans) if span.name == name)
    return [(span.name, span.begins, span.ends) for span in spans if span.parent == at]


def test_a_rollout_has_spans_for_push_release_and_waves_and_each_wave_for_its_devices() -> None:
    spans = made()
    root = spans[0]
    assert (root.name, root.begins, root.ends, root.fault) == ("rollout pump v2", 100.0, 300.0, "accuracy_drop")
    assert under(spans, root.name) == [
        ("push", 100.0, 110.0), ("release", 110.0, 130.0), ("wave 1", 140.0, 200.0), ("wave 2", 200.0, 300.0),
    ]  # fmt: skip
    assert under(spans, "push") == [("conversion", 100.0, 108.0), ("gates", 108.0, 110.0)]
    assert under(spans, "wave 1") == [("a", 141.0, 201.0)]
    assert under(spans, "wave 2") == [("b", 201.0, 261.0)], "c has said nothing"


def test_a_device_has_spans_for_transfer_probe_trial_and_outcome() -> None:
    spans = made()
    assert under(spans, "a") == [
        ("transfer", 141.0, 151.0), ("probe", 151.0, 161.0), ("wait", 161.0, 171.0), ("trial", 171.0, 201.0),
        ("confirmed", 201.0, 201.0),
    ]  # fmt: skip
    faults = {span.name: span.fault for span in spans if span.fault}
    assert faults == {
        "rollout pump v2": "accuracy_drop", "b": "health_accuracy: said", "trial": "health_accuracy: said",
        "rolled back": "health_accuracy: said",
    }  # fmt: skip


def test_every_parent_is_before_its_children_and_no_span_ends_before_it_starts() -> None:
    for at, span in enumerate(made()):
        assert span.parent < at
        assert span.begins <= span.ends


def test_failed_devices_of_a_large_fleet_are_traced_first() -> None:
    members = tuple(Member(device=f"d{number}", wave=0) for number in range(2 * MAX_DEVICES))
    large = Rollout(id="r", model="m", release=1, digest="", strategy=ROLLOUT.strategy, members=members)
    chosen = traced_devices(large, ["d999", "d998"])
    assert len(chosen) == MAX_DEVICES
    assert {each.device for each in chosen[:2]} == {"d998", "d999"}


def test_a_rollout_has_its_trace_id_from_the_start_and_a_fraction_is_exported() -> None:
    on = TracesConfig(url="http://127.0.0.1:4318/v1/traces")
    assert trace_of(on, ROLLOUT) == trace_id_of(ROLLOUT)
    assert len(trace_id_of(ROLLOUT)) == 32
    assert trace_of(TracesConfig(), ROLLOUT) == ""
    others = [Rollout(**{**_fields(ROLLOUT), "id": f"r-{number}"}) for number in range(1000)]
    third = TracesConfig(url=on.url, ratio=0.3)
    assert 230 < sum(bool(trace_of(third, each)) for each in others) < 370


def _fields(rollout: Rollout) -> dict[str, Any]:
    return {name: getattr(rollout, name) for name in rollout.__struct_fields__}


class Collector:
    """A receiver of OTLP over HTTP that reads what it gets as protobuf; `status` is what it answers."""

    def __init__(self, status: int = 200) -> None:
        self.spans: list[Any] = []
        self._status = status
        app = web.Application()
        app.router.add_post("/v1/traces", self._take)
        self.server = TestServer(app)

    async def _take(self, request: web.Request) -> web.Response:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        assert request.content_type == "application/x-protobuf"
        body = ExportTraceServiceRequest.FromString(await request.read())
        self.spans += [
            span for each in body.resource_spans for scope in each.scope_spans for span in scope.spans
        ]  # fmt: skip
        return web.Response(status=self._status)


def test_a_collector_gets_the_trace_as_one_tree_with_its_times() -> None:
    pytest.importorskip("opentelemetry.sdk", reason=traces.INSTALL)

    async def run() -> Collector:
        collector = Collector()
        await collector.server.start_server()
        sender = Traces(TracesConfig(url=str(collector.server.make_url("/v1/traces"))))
        sender.send(trace_id_of(ROLLOUT), made())
        await sender.stop()
        await collector.server.close()
        return collector

    got = asyncio.run(run()).spans
    assert {span.trace_id.hex() for span in got} == {trace_id_of(ROLLOUT)}
    by_id = {span.span_id: span for span in got}
    names = {span.name: by_id[span.parent_span_id].name for span in got if span.parent_span_id in by_id}
    assert names["a"] == "wave 1"
    assert names["conversion"] == "push"
    root = next(span for span in got if span.name == "rollout pump v2")
    assert (root.start_time_unix_nano, root.end_time_unix_nano) == (100 * 10**9, 300 * 10**9)
    assert len(got) == len(made())
    attributes = {each.key: each.value for each in root.attributes}
    assert attributes["edgeward.rollout"].string_value == "r-7"
    assert root.status.code == 2, "an error: it was rolled back"


def test_a_dead_collector_does_not_delay_the_controller(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("opentelemetry.sdk", reason=traces.INSTALL)
    monkeypatch.setattr(traces, "STOP_MS", 200)

    async def run() -> tuple[float, float]:
        sender = Traces(TracesConfig(url="http://127.0.0.1:9/v1/traces"))
        began = time.monotonic()
        for _ in range(3):
            sender.send(trace_id_of(ROLLOUT), made())
        handed = time.monotonic() - began
        await asyncio.wait_for(sender.stop(), 20)
        return handed, time.monotonic() - began

    handed, stopped = asyncio.run(run())
    assert handed < stopped, "handing over waits for nothing; the end waits, and not for long"
    assert stopped < 15


def test_an_address_without_the_packages_is_refused_with_the_command_that_installs_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(BadInput, match=r"pip install 'edgeward\[otel\]'"):
        Traces(TracesConfig(url="http://127.0.0.1:9/v1/traces"))
    Traces(TracesConfig())


def test_a_completed_rollout_and_a_shadow_that_passed_have_no_fault() -> None:
    ended = Rollout(**{**_fields(ROLLOUT), "status": "completed"})
    spans = spans_of(ended, PUSHED, DEEDS, {"a": update(141.0, "shadowed", "shadow_passed")}, 300.0)
    assert spans[0].attributes["edgeward.status"] == "completed"
    assert [(span.name, span.fault) for span in spans if span.fault] == []


def test_reports_of_a_device_about_another_version_are_no_part_of_its_span() -> None:
    before = [Told(145.0, state("steady")), *(Told(each.at, each.state) for each in update(150.0, "confirmed"))]
    spans = spans_of(ROLLOUT, PUSHED, DEEDS, {"a": before}, 300.0)
    device = next(span for span in spans if span.name == "a")
    assert (device.begins, device.ends) == (150.0, 210.0)
    assert device.attributes["edgeward.device"] == "a"
    earlier = spans_of(ROLLOUT, PUSHED, DEEDS, {"a": update(60.0, "rolled_back", "health_accuracy")}, 300.0)
    assert "a" not in {span.name for span in earlier}, "before its wave began: another attempt"
