"""A slot whose model answers the sum of a row, its counts, and its HTTP endpoint."""

import json
import threading
import time
from typing import Any

import numpy as np
from msgspec.structs import replace

from agent.core.model import Assignment
from agent.ports import Array, Inputs
from agent.serving.oip import Endpoint, Request
from agent.serving.slot import ModelSlot
from agent.serving.statistics import Statistics
from contract.desired import TrialPolicy
from contract.manifest import Manifest, Tensor
from contract.messages import ModelInterval
from contract.wire import decode, encode
from firmware_sim.models import make_model

X = Tensor(name="X", datatype="FP32", shape=(-1, 2))
ANSWER = Tensor(name="y", datatype="FP32", shape=(-1, 1))
BASE = replace(make_model(1, "good").manifest, inputs=(X,), outputs=(ANSWER,), columns=("a", "b"), task="regression")


class Sums:
    """Answers the sum of a row, as onnxruntime would: other dtypes and sizes than declared raise."""

    def run(self, inputs: Inputs) -> list[Array]:
        arrays = list(inputs.values())
        if any(array.dtype != np.float32 for array in arrays):
            raise RuntimeError("[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Unexpected input data type")
        return [np.concatenate(arrays, axis=1).sum(axis=1, keepdims=True)]


def slot_of(session: Any = None, manifest: Manifest = BASE) -> ModelSlot:
    slot = ModelSlot("m", perf_s=time.perf_counter, lock=threading.Lock())
    assignment = Assignment(model="m", generation=1, manifest=manifest, policy=TrialPolicy())
    slot.swap(slot.prepare(assignment, session or Sums()))
    return slot


def interval_of(slot: ModelSlot) -> ModelInterval:
    found = slot.take_tally()
    assert found is not None
    assert decode(encode(found), ModelInterval) == found, "whatever was counted, the message can be sent"
    return found


def by_http(slot: ModelSlot, values: list[list[Any]], **changes: Any) -> int:
    statistics = Statistics(time.perf_counter_ns, time.time, threading.Lock())
    endpoint = Endpoint(lambda: {"m": slot}, statistics, version="1")
    tensor = {"name": "X", "shape": [len(values), 2], "datatype": "FP32", "data": values} | changes
    return endpoint.answer(Request("POST", "/v2/models/m/infer", json.dumps({"inputs": [tensor]}).encode())).status


A, B = (Tensor(name=name, datatype="FP32", shape=(-1, 1)) for name in "ab")
