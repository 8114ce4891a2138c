"""State that a device keeps: a stream continues under its key, restarts by rule, and is separate in each version."""

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import pytest

from agent.core.model import Assignment
from agent.ports import Sample
from agent.serving.oip import Endpoint
from agent.serving.oip_messages import Request
from agent.serving.shadow import Shadow
from agent.serving.slot import About, ModelSlot
from agent.serving.statistics import Statistics
from agent.serving.streams import Streams
from contract.desired import TrialPolicy
from contract.errors import BadInput, Code
from contract.golden import ranks_of
from contract.manifest import Manifest, StateRules, StateTensor, Tensor
from contract.recurrent import StateAsked, state_of
from firmware_sim.models import make_model

RULES = StateRules(
    tensors=(StateTensor(input="h_in", output="h_out", datatype="FP32", shape=(1, 1), initial=Decimal(10)),),
    reset_after_s=Decimal(5),
    max_keys=2,
)


def summing(release: int = 1, rules: StateRules = RULES) -> Assignment:
    """A version that answers 10 plus the sum of the values of a stream."""
    manifest: Manifest = msgspec.structs.replace(
        make_model(release, "good").manifest,
        task="regression",
        inputs=(Tensor(name="x", datatype="FP32", shape=(-1, 1)),),
        outputs=(Tensor(name="sum", datatype="FP32", shape=(-1, 1)),),
        columns=(),
        classes=(),
        state=rules,
    )
    return Assignment(model="m", generation=1, manifest=manifest, policy=TrialPolicy())


@dataclass
class Sums:
    asked: list[dict[str, Any]] = field(default_factory=list)
    broken: bool = False
    takes_s: float = 0.0

    def run(self, inputs: dict[str, Any], stop: Any = None) -> list[Any]:
        self.asked.append(inputs)
        time.sleep(self.takes_s)
        if self.broken or len(inputs["x"]) != 1:
            raise RuntimeError("broken")
        total = inputs["x"] + inputs["h_in"]
        return [total, total]


class Device:
    def __init__(self) -> None:
        self.now = 0.0
        self.slot = ModelSlot("m", perf_s=lambda: self.now, lock=threading.Lock(), new_lock=threading.Lock)
        self.session = Sums()
        self.slot.swap(self.slot.prepare(summing(), self.session))

    def ask(self, number: float, key: str = "") -> float:
        (total,) = self.slot.run({"x": np.array([[number]], np.float32)}, key)
        return float(total.item())


def test_a_stream_continues_under_its_key_and_a_request_without_a_key_has_no_stream() -> None:
    device = Device()
    assert [device.ask(1, "a"), device.ask(2, "a"), device.ask(5, "b"), device.ask(3, "a")] == [11, 13, 15, 16]
    assert [device.ask(1), device.ask(1)] == [11, 11]
    assert device.slot.predict(Sample({"x": [1.0]}, key="b")).value == 16  # type: ignore[union-attr]


def test_a_stream_starts_again_after_a_gap_and_with_every_version() -> None:
    device = Device()
    device.ask(1, "a")
    device.now = 5.0
    assert device.ask(1, "a") == 12
    device.now = 10.1
    assert device.ask(1, "a") == 11
    device.slot.swap(device.slot.prepare(summing(2), Sums()))
    assert device.ask(1, "a") == 11


def test_the_least_recently_used_stream_is_dropped_beyond_the_limit() -> None:
    device = Device()
    for key in ("a", "b", "a", "c"):
        device.ask(1, key)
    assert device.ask(0, "a") == 12
    assert device.slot.dropped["streams_forgotten"] == 1
    assert device.ask(0, "b") == 10
    assert len(device.slot.serving.streams) == 2  # type: ignore[union-attr, arg-type]


def test_a_failed_request_does_not_change_the_stream_and_two_rows_in_one_request_are_the_callers_error() -> None:
    device = Device()
    device.ask(1, "a")
    device.session.broken = True
    with pytest.raises(RuntimeError):
        device.ask(7, "a")
    device.session.broken = False
    assert device.ask(1, "a") == 12
    errors = device.slot.take_tally().errors  # type: ignore[union-attr]
    with pytest.raises(BadInput, match="one row of one stream"):
        device.slot.run({"x": np.zeros((2, 1), np.float32)}, "a")
    assert errors == 1
    assert device.slot.take_tally().errors == 0  # type: ignore[union-attr]


def test_a_state_that_is_not_finite_is_not_kept() -> None:
    dropped: Counter[str] = Counter()
    streams = Streams(RULES, perf_s=lambda: 0.0, new_lock=threading.Lock, dropped=dropped)
    spoilt = np.array([[np.nan]], np.float32)
    streams.run(lambda _: [spoilt, spoilt], {}, "a")
    assert dropped["streams_broken"] == 1
    assert streams.run(lambda inputs: [inputs["h_in"], inputs["h_in"]], {}, "a")[0].item() == 10


def test_a_shadow_keeps_its_own_stream_and_repeats_all_of_it_or_nothing() -> None:
    device = Device()
    rules = msgspec.structs.replace(RULES, max_keys=64)
    candidate = device.slot.prepare(summing(2, rules), Sums())
    policy = TrialPolicy(mode="shadow", shadow_share=Decimal("0.5"), max_shadow_cpu=Decimal(1))
    shadow = Shadow(candidate, policy, perf_s=lambda: 0.0, dropped=device.slot.dropped)
    device.slot.watchers = (shadow,)
    for _ in range(4):
        for key in map(str, range(16)):
            device.ask(1, key)
        shadow.run(0.0)
    fed = [inputs["h_in"].item() for inputs in candidate.session.asked]  # type: ignore[attr-defined]
    repeated = len(fed) // 4
    assert 0 < repeated < 16
    assert Counter(fed) == dict.fromkeys((10, 11, 12, 13), repeated)
    few = Shadow(candidate, policy, perf_s=lambda: 0.0, dropped=device.slot.dropped)
    tensors = {"x": np.ones((1, 1), np.float32)}
    taken = [few.see_tensors(summing().manifest, tensors, [], About(key="a")) or few.wake_at() for _ in range(6)]
    assert len(set(taken)) == 1


def test_simultaneous_requests_of_one_key_run_one_after_the_other() -> None:
    device, done = Device(), []
    device.session.takes_s = 0.005
    threads = [threading.Thread(target=lambda: done.append(device.ask(1, "a"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == [11, 12, 13, 14, 15, 16, 17, 18]


def oip(device: Device, number: float, **parameters: Any) -> Any:
    endpoint = Endpoint(lambda: {"m": device.slot}, Statistics(lambda: 0, lambda: 0.0, threading.Lock()), version="1")
    tensor = {"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [number]}
    body = msgspec.json.encode({"inputs": [tensor], "parameters": parameters})
    response = endpoint.answer(Request("POST", "/v2/models/m/infer", body))
    return msgspec.json.decode(response.body)


def test_a_key_or_a_sequence_names_the_stream_over_the_protocol() -> None:
    device = Device()

    def total(number: float, **parameters: Any) -> float:
        return float(oip(device, number, **parameters)["outputs"][0]["data"][0])

    assert [total(1, routing_key="a"), total(1, routing_key="a"), total(1)] == [11, 12, 11]
    assert [total(1, sequence_id=7, sequence_start=True), total(1, sequence_id=7)] == [11, 12]
    assert total(1, sequence_id=7, sequence_end=True) == 13
    assert total(1, sequence_id=7) == 11
    assert total(1, sequence_id=7, sequence_start=True) == 11
    assert "input 'h_in' is unknown; the model takes x" in str(
        msgspec.json.decode(
            Endpoint(lambda: {"m": device.slot}, Statistics(lambda: 0, lambda: 0.0, threading.Lock()), version="1")
            .answer(
                Request(
                    "POST",
                    "/v2/models/m/infer",
                    b'{"inputs":[{"name":"h_in","shape":[1,1],"datatype":"FP32","data":[1]}]}',
                )
            )
            .body
        )
    )


INPUTS = (
    Tensor(name="x", datatype="FP32", shape=(-1, 4)),
    Tensor(name="h", datatype="FP32", shape=(2, -1, 8)),
)
OUTPUTS = (
    Tensor(name="y", datatype="FP32", shape=(-1, 1)),
    Tensor(name="h_out", datatype="FP32", shape=(2, -1, 8)),
    Tensor(name="wide", datatype="FP32", shape=(2, -1, 9)),
    Tensor(name="flat", datatype="FP32", shape=(-1, 8)),
    Tensor(name="double", datatype="FP64", shape=(2, -1, 8)),
)


def test_the_state_is_hidden_from_callers_and_passed_to_the_runtime() -> None:
    rules, inputs, outputs = state_of(StateAsked(feeds={"h": "h_out"}), INPUTS, OUTPUTS[:2])
    assert [each.name for each in inputs] == ["x"]
    assert [each.name for each in outputs] == ["y"]
    assert rules.tensors[0].shape == (2, 1, 8)
    manifest = msgspec.structs.replace(summing().manifest, inputs=inputs, outputs=outputs, state=rules)
    assert ranks_of(manifest) == {"x": 2, "h": 3}
    assert [each.name for each in manifest.session_outputs] == ["y", "h_out"]


def test_an_output_that_does_not_fit_the_next_input_is_refused_with_both_lists() -> None:
    cases = [
        ({"h": "wide"}, "sizes differ"),
        ({"h": "flat"}, "ranks differ"),
        ({"h": "double"}, "types differ"),
        ({"g": "h_out"}, "state 'g' from 'h_out': one of them is not there"),
    ]
    for feeds, words in cases:
        with pytest.raises(BadInput) as caught:
            state_of(StateAsked(feeds=feeds), INPUTS, OUTPUTS)
        assert caught.value.code == Code.REQUEST_INVALID
        assert "takes x FP32 (n x 4), h FP32 (2 x n x 8) and gives y FP32 (n x 1), h_out" in caught.value.detail
        assert words in caught.value.detail
    for wrong, words in (
        ({"initial": Decimal("NaN")}, "begins with NaN"),
        ({"reset_after_s": Decimal(-1)}, "after -1 s"),
    ):
        with pytest.raises(BadInput, match=words):
            state_of(StateAsked(feeds={"h": "h_out"}, **wrong), INPUTS, OUTPUTS)
    with pytest.raises(BadInput, match="the first output must be the answer"):
        state_of(StateAsked(feeds={"h": "h_out"}), INPUTS, (OUTPUTS[1], OUTPUTS[0]))
    with pytest.raises(BadInput, match="65536 bytes each take more than 16 MiB: set max_keys to 256"):
        state_of(
            StateAsked(feeds={"h": "h_out"}, max_keys=4096),
            (INPUTS[0], Tensor(name="h", datatype="FP32", shape=(2, 64, 128))),
            (OUTPUTS[0], Tensor(name="h_out", datatype="FP32", shape=(2, 64, 128))),
        )


def test_requests_of_two_streams_run_at_the_same_time() -> None:
    device, meet = Device(), threading.Barrier(2)

    def run(inputs: dict[str, Any], stop: Any = None) -> list[Any]:
        meet.wait(timeout=20)  # until both streams run
        return [inputs["x"] + inputs["h_in"]] * 2

    device.session.run = run  # type: ignore[method-assign]
    told: list[float] = []
    threads = [threading.Thread(target=lambda key=key: told.append(device.ask(1, key))) for key in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == [11, 11]
    assert device.slot.serving is not None
    assert device.slot.serving.streams is not None
    assert not device.slot.serving.streams._turns, "nothing is kept of streams that nobody asks"
