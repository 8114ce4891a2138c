"""Candidates on devices: which device is asked, what the broker holds meanwhile, and the error if none measures."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from contract import topics
from contract.errors import BadInput
from contract.inquiries import Answered, Inquiry, Probed
from contract.messages import ModelState
from contract.wire import decode, encode
from controller.broker.messages import Retained
from controller.config import Config, StorageConfig
from controller.state import State, open_state
from controller.verbs import candidates
from controller.verbs.candidates import ProbedOn, Where, probe_candidate
from firmware_sim.models import make_model
from tests.controller.test_api import meet

MODEL = make_model(3, "good")
ARTIFACT, GOLDEN = MODEL.manifest.artifact, MODEL.manifest.golden.blob
CLASS = {"site": "north"}


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    made = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path))))
    meet(made, "a", "b", "c")
    for device in "abc":
        made.world.durable.twins[device] = replace(made.world.durable.twins[device], labels=CLASS)
    yield made
    made.close()


class Link:
    """A link to devices, each with a fixed answer; None: it sends no answer."""

    connected = True

    def __init__(self, state: State, says: dict[str, Probed | None]) -> None:
        self._state, self._says = state, says
        self.asked: list[Inquiry] = []
        self.held: dict[str, bytes] = {}
        self.held_while_asked: list[int] = []
        state.links = (self,)  # type: ignore[assignment]

    def retain(self, messages: Any) -> None:
        for each in messages:
            assert isinstance(each, Retained)
            self.held[each.topic] = each.payload
            if not each.payload:
                del self.held[each.topic]

    def publish(self, _: str, payload: bytes, *, retain: bool) -> None:
        assert not retain
        asked = decode(payload, Inquiry)
        self.asked.append(asked)
        self.held_while_asked.append(len(self.held))
        probed = self._says[asked.device]
        if probed is not None:
            answer = Answered(protocol=1, device=asked.device, boot=1, seq=9, id=asked.id, probed=probed)
            self._state.inbox.put(topics.answered(asked.device), encode(answer))

    def stop(self) -> None:
        """Nothing to end."""


def probe(state: State, tmp_path: Path, **where: Any) -> ProbedOn:
    files = {ARTIFACT.sha256: tmp_path / "model", GOLDEN.sha256: tmp_path / "golden"}
    files[ARTIFACT.sha256].write_bytes(MODEL.artifact)
    files[GOLDEN.sha256].write_bytes(MODEL.golden)
    return asyncio.run(probe_candidate(state, "m", MODEL.manifest, files, Where(**where), actor="ada"))


def test_a_device_measures_while_the_broker_holds_the_candidate_and_nothing_remains(
    state: State, tmp_path: Path
) -> None:
    link = Link(state, {"a": Probed(latency_us_p50=7.0, memory_mb=2.0)})
    found = probe(state, tmp_path, device="a")
    assert (found.device, found.code, found.latency_us_p50, found.memory_mb) == ("a", "", 7.0, 2.0)
    assert link.asked[0].candidate == MODEL.manifest
    assert link.held_while_asked[0] >= 4
    assert (link.held, state.lent, state.records.published()) == ({}, {}, {})
    assert state.registry.models() == []


def test_an_idle_device_of_the_class_is_asked_first_and_then_the_next_one(state: State, tmp_path: Path) -> None:
    updating = ModelState(model="m", phase="fetching", generation=1)
    twins = state.world.durable.twins
    twins["a"] = replace(twins["a"], reported={"m": updating})
    link = Link(state, {"b": Probed(code="busy", detail="not now"), "c": Probed(latency_us_p50=9.0)})
    assert probe(state, tmp_path, labels=CLASS).device == "c"
    assert [each.device for each in link.asked] == ["b", "c"]


def test_if_all_devices_are_busy_or_silent_the_error_has_the_reason_of_the_last_one(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates, "PROBE_S", 0.1)
    busy = Probed(code="busy", detail="it is fetching or trying a version")
    link = Link(state, {"a": busy, "b": busy, "c": None})
    found = probe(state, tmp_path, labels=CLASS)
    assert (found.device, found.code, len(link.asked)) == ("c", "device_unreachable", 3)
    assert (link.held, state.lent) == ({}, {})


def test_a_fault_of_the_candidate_is_not_tried_on_another_device(state: State, tmp_path: Path) -> None:
    link = Link(state, {"a": Probed(code="probe_mismatch", detail="3 rows differ")})
    assert probe(state, tmp_path, labels=CLASS).code == "probe_mismatch"
    assert len(link.asked) == 1


def test_a_candidate_beyond_the_limit_is_sent_to_no_device(state: State, tmp_path: Path) -> None:
    link = Link(state, {})
    assert probe(state, tmp_path, device="a", max_bytes=10).code == "conversion_limit"
    assert (link.asked, link.held) == ([], {})


def test_an_unknown_device_and_an_unknown_class_are_refused(state: State, tmp_path: Path) -> None:
    Link(state, {})
    for where, code in (
        ({"device": "x"}, "unknown_device"),
        ({"labels": {"site": "x"}}, "selector_empty"),
        ({}, "req"),
    ):
        with pytest.raises(BadInput) as refused:
            probe(state, tmp_path, **where)
        assert refused.value.code.startswith(code)
    assert state.lent == {}
