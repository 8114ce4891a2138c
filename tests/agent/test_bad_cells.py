"""A cell means the same over every interface, and one without a value is refused with its code."""

import csv
import io
import json
import threading
import time
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from agent.adapters.sensors.streams import from_cells, parse_row, to_sample
from agent.ports import Array, Inputs
from agent.serving.oip import Endpoint, Request
from agent.serving.rows import RowEncoder
from agent.serving.statistics import Statistics
from contract.errors import BadInput, Code
from contract.manifest import Tensor
from tests.agent.bad_data_slots import BASE, A, X, by_http, interval_of, slot_of


def encoder(datatype: str, **changes: Any) -> RowEncoder:
    tensor = Tensor(name="X", datatype=datatype, shape=(-1, 1))
    return RowEncoder(replace(BASE, inputs=(tensor,), columns=("x",), **changes))


@pytest.mark.parametrize(
    ("datatype", "cell", "value"),
    [
        ("INT64", 3.0, 3),
        ("INT64", "3.0", 3),
        ("INT64", "3", 3),
        ("INT64", True, 1),
        ("INT64", "False", 0),
        ("INT64", "9007199254740993", 9007199254740993),
        ("FP32", True, 1.0),
        ("FP32", "true", 1.0),
        ("FP32", "1.5", 1.5),
        ("FP64", np.int32(4), 4.0),
        ("BOOL", "False", False),
        ("BOOL", 1, True),
        ("BOOL", "0", False),
        ("BYTES", 12, "12"),
        ("BYTES", "", ""),
    ],
)
def test_a_cell_with_a_value_is_read_as_that_value(datatype: str, cell: Any, value: Any) -> None:
    found = encoder(datatype).arrays({"x": cell})["X"]
    assert (found.item(), found.shape) == (value, (1, 1))


@pytest.mark.parametrize(
    ("datatype", "cell", "code"),
    [
        ("INT64", 3.9, Code.VALUE_RANGE),
        ("INT64", "3.9", Code.VALUE_RANGE),
        ("INT8", 128, Code.VALUE_RANGE),
        ("UINT8", -1, Code.VALUE_RANGE),
        ("INT64", None, Code.VALUE_MISSING),
        ("INT64", "", Code.VALUE_MISSING),
        ("BOOL", 2, Code.VALUE_RANGE),
        ("BOOL", "maybe", Code.SAMPLE_INVALID),
        ("BOOL", None, Code.VALUE_MISSING),
        ("BYTES", None, Code.VALUE_MISSING),
        ("BYTES", float("nan"), Code.VALUE_MISSING),
        ("FP16", 70000.0, Code.VALUE_RANGE),
    ],
)
def test_a_cell_without_a_value_is_refused_with_its_code(datatype: str, cell: Any, code: Code) -> None:
    with pytest.raises(BadInput) as caught:
        encoder(datatype).arrays({"x": cell})
    assert (caught.value.code, "'x'" in caught.value.detail or " x;" in caught.value.detail) == (code, True)


def test_a_missing_number_is_nan_if_the_model_accepts_it_and_is_otherwise_refused_with_its_column() -> None:
    assert np.isnan(encoder("FP32").arrays({"x": None})["X"]).all()
    assert np.isnan(encoder("FP32").arrays({"x": " nan "})["X"]).all()
    for refusing in (encoder("FP32", nan="refuse"), encoder("FP32", required=("x",))):
        with pytest.raises(BadInput, match="no value for x") as caught:
            refusing.arrays({"x": float("nan")})
        assert caught.value.code == Code.VALUE_MISSING


def test_a_required_column_is_required_in_tensors_too() -> None:
    slot = slot_of(manifest=replace(BASE, required=("b",)))
    assert by_http(slot, [[None, 2.0]]) == 200
    assert by_http(slot, [[1.0, None]]) == 400
    assert interval_of(slot).refused[Code.VALUE_MISSING] == 1


SITE = Tensor(name="site", datatype="BYTES", shape=(-1, 1))
WITH_TEXT = replace(BASE, inputs=(A, SITE), columns=("a", "site"), missing_text=(("site", "nan"),))


def test_a_missing_text_is_read_the_same_through_every_interface() -> None:
    encode_row = RowEncoder(WITH_TEXT).arrays
    line = next(csv.DictReader(io.StringIO("a,site\n1,\n")))
    doors = {
        "csv": to_sample(from_cells(line), "").values,
        "json": parse_row('{"a": 1, "site": null}', "").values,
        "parquet": to_sample({"a": 1.0, "site": None}, "").values,
        "application": {"a": 1.0, "site": float("nan")},
    }
    assert {door: encode_row(values)["site"].item() for door, values in doors.items()} == dict.fromkeys(doors, "nan")
    assert encode_row(parse_row('{"a": 1, "site": ""}', "").values)["site"].item() == ""


def test_a_missing_text_in_a_request_is_the_value_that_the_manifest_names() -> None:
    seen: list[Any] = []

    class Keeps:
        def run(self, inputs: Inputs) -> list[Array]:
            seen.append(inputs["site"].item())
            return [np.zeros((1, 1), dtype=np.float32)]

    for manifest, status in ((WITH_TEXT, 200), (replace(WITH_TEXT, missing_text=()), 400)):
        slot = slot_of(Keeps(), manifest)
        endpoint = Endpoint(
            lambda slot=slot: {"m": slot},  # type: ignore[misc]
            Statistics(time.perf_counter_ns, time.time, threading.Lock()),
            version="1",
        )
        tensors = [
            {"name": "a", "shape": [1, 1], "datatype": "FP32", "data": [1.0]},
            {"name": "site", "shape": [1, 1], "datatype": "BYTES", "data": [None]},
        ]
        found = endpoint.answer(Request("POST", "/v2/models/m/infer", json.dumps({"inputs": tensors}).encode()))
        assert found.status == status, found.body
        told = json.loads(endpoint.answer(Request("GET", "/v2/models/m/config")).body)["parameters"]
        assert told == ({"edgeward.missing_text.site": {"string_value": "nan"}} if status == 200 else {})
        if told:
            text = told["edgeward.missing_text.site"]["string_value"].encode()
            raw = len(text).to_bytes(4, "little") + text
            site = {**tensors[1], "parameters": {"binary_data_size": len(raw)}}
            del site["data"]
            head = json.dumps({"inputs": [tensors[0], site]}).encode()
            binary = endpoint.answer(Request("POST", "/v2/models/m/infer", head + raw, json_length=len(head)))
            assert binary.status == 200, "a binary tensor says it by the text that is named"
    assert seen == ["nan", "nan"]


@pytest.mark.parametrize(
    ("datatype", "cells", "status"),
    [
        ("INT64", [3.0], 200),
        ("INT64", [True], 200),
        ("INT64", [3.9], 400),
        ("INT64", [None], 400),
        ("FP32", [None], 200),
    ],
)
def test_json_cells_have_the_same_meaning_in_a_request_and_in_a_row(
    datatype: str, cells: list[Any], status: int
) -> None:
    class Zero:
        def run(self, inputs: Inputs) -> list[Array]:
            return [np.zeros((1, 1), dtype=np.float32)]

    tensor = Tensor(name="X", datatype=datatype, shape=(-1, 1))
    slot = slot_of(Zero(), replace(BASE, inputs=(tensor,), columns=("x",)))
    assert by_http(slot, [cells], datatype=datatype, shape=[1, 1]) == status


def test_names_of_dimensions_are_not_part_of_the_protocol() -> None:
    slot = slot_of(manifest=replace(BASE, inputs=(replace(X, dimensions=("n", "")),)))
    endpoint = Endpoint(lambda: {"m": slot}, Statistics(time.perf_counter_ns, time.time, threading.Lock()), version="1")
    told = json.loads(endpoint.answer(Request("GET", "/v2/models/m")).body)
    assert told["inputs"] == [
        {"name": "X", "datatype": "FP32", "shape": [-1, 2], "parameters": {"columns": ["a", "b"]}}
    ]
