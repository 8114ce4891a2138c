"""A model of a DataFrame at the HTTP endpoint: its columns are told, taken one by one, and named in a refusal."""

import json
from typing import Any

import numpy as np
import pytest

from agent.ports import Array, Inputs
from agent.serving.oip import Endpoint, Request
from contract.manifest import Tensor
from tests.agent.test_oip import INFER, endpoint_of, get, post, slot_of, tensor

COLUMNS = ("warm", "rain", "wind")


class Weighs:
    """Answers 100 warm + 10 rain + wind: the order of the columns shows in it."""

    def run(self, inputs: Inputs) -> list[Array]:
        return [inputs["X"] @ np.array([100, 10, 1], inputs["X"].dtype)]


def weighing(datatype: str = "FP32", **changes: Any) -> Endpoint:
    x = Tensor(name="X", datatype=datatype, shape=(-1, 3))
    return endpoint_of(slot_of(Weighs(), inputs=(x,), columns=COLUMNS, **changes))


def column(name: str, data: list[Any], datatype: str = "FP64", **changes: object) -> dict[str, object]:
    return {"name": name, "shape": [len(data)], "datatype": datatype, "data": data} | changes


def given(*inputs: dict[str, object]) -> dict[str, object]:
    return {"inputs": list(inputs)}


def test_the_metadata_of_a_matrix_names_its_columns_in_their_order() -> None:
    x = {"name": "X", "datatype": "FP32", "shape": [-1, 3], "parameters": {"columns": list(COLUMNS)}}
    assert get(weighing(), "/v2/models/plant")[1]["inputs"] == [x]
    assert "parameters" not in get(endpoint_of(slot_of()), "/v2/models/plant")[1]["inputs"][0], "a column without names"


def test_one_tensor_for_each_column_in_any_order_and_any_type_of_number_answers_as_the_matrix_does() -> None:
    wind, warm, rain = (
        column("wind", [3, 6], "INT64"), column("warm", [1.0, 4.0], shape=[2, 1]), column("rain", [2, None], "INT32"),
    )  # fmt: skip
    status, told = post(weighing(), given(wind, warm, rain | {"data": [2, 5]}))
    assert (status, told["outputs"][0]["data"]) == (200, [123.0, 456.0])
    assert post(weighing(), given(wind, warm, rain))[1]["outputs"][0]["data"] == [123.0, None]
    assert "NaN in rain" in post(weighing(required=("rain",)), given(wind, warm, rain))[1]["error"]
    assert "input 'rain', row 1: null" in post(weighing("INT64"), given(wind, warm, rain))[1]["error"]


def test_raw_tensors_of_columns_are_read_in_their_own_types() -> None:
    arrays = {"wind": np.array([3], "<i8"), "warm": np.array([1], "<f8"), "rain": np.array([2], "<u2")}
    types = {"wind": "INT64", "warm": "FP64", "rain": "UINT16"}
    binary = [
        {"name": name, "shape": [1], "datatype": types[name], "parameters": {"binary_data_size": array.nbytes}}
        for name, array in arrays.items()
    ]
    head = json.dumps({"inputs": binary}).encode()
    tail = b"".join(array.tobytes() for array in arrays.values())
    found = weighing().answer(Request("POST", INFER, head + tail, len(head)))
    assert (found.status, json.loads(found.body)["outputs"][0]["data"]) == (200, [123.0])
    fraction = tail.replace(np.float64(1).tobytes(), np.float64(1.5).tobytes())
    refused = weighing("INT64").answer(Request("POST", INFER, head + fraction, len(head)))
    assert (refused.status, b"column 'warm': a number does not fit INT64" in refused.body) == (400, True)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ([column("warm", [1])], "columns 'rain', 'wind' are missing: send one tensor for each of the 3 columns"),
        ([column(name, [1]) for name in (*COLUMNS, "fog")], "column 'fog' is unknown"),
        ([column(name, [1]) for name in (*COLUMNS, "warm")], "input 'warm' is given twice"),
        ([column("warm", [1]), column("rain", [1, 2]), column("wind", [1])], "'rain' has 2 rows, input 'warm' has 1"),
        ([column("warm", ["a"], "BYTES"), *(column(name, [1]) for name in COLUMNS[1:])], "'BYTES', the model takes"),
        ([column("warm", [1e300]), *(column(name, [1]) for name in COLUMNS[1:])], "'warm': a number is too large"),
        ([tensor(name="Y")], "input 'Y' is unknown; the model takes X, or one tensor for each of its 3 columns"),
    ],
)
def test_a_refusal_names_the_columns_that_do_not_fit(inputs: list[dict[str, object]], words: str) -> None:
    status, told = post(weighing(), given(*inputs))
    assert (status, words in told["error"]) == (400, True), told


def test_a_refusal_names_at_most_ten_columns() -> None:
    names = tuple(f"c{at}" for at in range(30))
    slot = slot_of(inputs=(Tensor(name="X", datatype="FP32", shape=(-1, 30)),), columns=names)
    words = post(endpoint_of(slot), given(column("c0", [1])))[1]["error"]
    assert "'c10' and 19 more are missing" in words
    assert "'c11'" not in words


@pytest.mark.parametrize(
    ("changes", "datatype", "data", "words"),
    [
        ({}, "FP32", [1, 2, 3, 4, "a", 6], "input 'X', column 'rain', row 1: text where a number belongs"),
        ({}, "FP32", [[1, 2, 3], [4, 5, "a"]], "input 'X', column 'wind', row 1: text where a number belongs"),
        ({}, "INT64", [1, 2, 3, 4, None, 6], "input 'X', column 'rain', row 1: null, and the model requires"),
        ({}, "INT64", [1, 2.5, 3, 4, 5, 6], "column 'rain': not a whole number"),
        ({"nan": "refuse"}, "FP32", [1, 2, 3, 4, 5, None], "input 'X': holds NaN in wind (row 1), and the model"),
        ({"required": ("wind",)}, "FP32", [None, 2, 3, 4, 5, None], "input 'X': NaN in wind (row 1), required"),
    ],
)
def test_the_refusal_of_a_cell_names_its_column_and_its_row(
    changes: dict[str, Any], datatype: str, data: list[Any], words: str
) -> None:
    status, told = post(weighing(datatype, **changes), given(tensor(datatype=datatype, data=data)))
    assert (status, words in told["error"]) == (400, True), told


def test_the_row_of_a_cell_is_right_in_a_long_list() -> None:
    data: list[Any] = [1.25] * 90_000
    data[70_001] = "a"
    words = post(weighing(), given(tensor(shape=[30_000, 3], data=data)))[1]["error"]
    assert words == "input 'X', column 'wind', row 23333: text where a number belongs"
