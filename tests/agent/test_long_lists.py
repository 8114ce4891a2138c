"""Long lists of numbers are cut out of a request and read piece by piece: to the same arrays and the same refusals."""

import json
from collections import Counter
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.ports import Array, Inputs, Stop
from agent.serving import long_lists, oip_messages
from agent.serving.oip import Endpoint, Request
from agent.serving.oip_messages import read_infer
from agent.serving.slot import ModelSlot
from agent.serving.tensors import ReadTensor
from contract.manifest import Tensor
from tests.agent.test_oip import INFER, endpoint_of, slot_of

PLAIN = ["0", "-0", "-0.0", "1", "-7", "0.1", "2.5e3", "1E-3", "0.12569999694824219", "9007199254740993", "1e-400"]
EDGES = ["3.4028235e38", "3.4028236e38", "65504", "65519.9", "65520", "127", "128", "18446744073709551615", "1e39"]
STRANGE = [
    "1.",
    "01",
    "+1",
    ".5",
    "1e",
    "1e400",
    "NaN",
    "null",
    "true",
    '"3"',
    "[1]",
    "",
    " ",
    "0x1",
    "1_0",
    "- 1",
    "{}",
]
FP32 = Tensor(name="X", datatype="FP32", shape=(-1, -1))


class Sees:
    """Keeps the content of its inputs, and answers 0 for each row."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []

    def run(self, inputs: Inputs, stop: Stop | None = None) -> list[Array]:
        array = inputs["X"]
        content = repr(array.tolist()).encode() if array.dtype.hasobject else array.tobytes()
        self.seen.append(array.dtype.str.encode() + content)
        return [np.zeros(len(inputs["X"]), np.float32)]


@lru_cache
def served(datatype: str) -> tuple[Sees, ModelSlot, Endpoint]:
    """Serves a model of any shape of this datatype, which takes missing values."""
    session = Sees()
    slot = slot_of(session, inputs=(msgspec.structs.replace(FP32, datatype=datatype),), nan="accept")
    return session, slot, endpoint_of(slot)


@pytest.fixture(params=["simdjson", "msgspec"])
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Reads long lists with simdjson, or without it as where the extra is not installed."""
    if request.param == "simdjson":
        pytest.importorskip("simdjson", reason="the extra is not installed: pip install 'edgeward[fast-json]'")
    else:
        monkeypatch.setattr(long_lists, "_simdjson", lambda: None)
    return str(request.param)


def body_of(shape: list[int], datatype: str, data: str, between: str = "") -> bytes:
    tensor = f'{{"name": "X", "shape": {shape}, "datatype": "{datatype}", "data":{between}{data}{between}}}'
    return f'{{"id": "a", "inputs": [{tensor}]}}'.encode()


def outcome(body: bytes, datatype: str, *, long_bytes: int, piece_bytes: int = 8) -> tuple[Any, ...]:
    """Returns status, response, the input's bytes, and what was counted as refused."""
    session, slot, endpoint = served(datatype)
    assert slot.serving is not None
    session.seen, slot.serving.observed.failed = [], Counter()
    kept = long_lists.LONG_BYTES, long_lists.PIECE_BYTES
    try:
        long_lists.LONG_BYTES = oip_messages.LONG_BYTES = long_bytes
        long_lists.PIECE_BYTES = piece_bytes
        found = endpoint.answer(Request("POST", INFER, body))
    finally:
        long_lists.LONG_BYTES, long_lists.PIECE_BYTES = kept
        oip_messages.LONG_BYTES = kept[0]
    return found.status, found.body, session.seen, dict(slot.serving.observed.failed)


def same_both_ways(body: bytes, datatype: str) -> tuple[Any, ...]:
    whole = outcome(body, datatype, long_bytes=1 << 30)
    assert outcome(body, datatype, long_bytes=1) == whole
    return whole


TEXTS = st.one_of(
    st.sampled_from(PLAIN + EDGES),
    st.integers(-(2**70), 2**70).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(width=32, allow_nan=False, allow_infinity=False).map(repr),
)
SPACES = st.sampled_from(["", " ", "\n  ", "\t"])
DATATYPES = st.sampled_from(["FP32", "FP32", "FP64", "FP16", "INT64", "INT8", "UINT64", "BOOL", "BYTES"])


@settings(max_examples=25, deadline=None)
@given(st.data())
def _differs_nowhere(data: st.DataObject) -> None:
    cells = data.draw(st.lists(TEXTS, min_size=1, max_size=24))
    if data.draw(st.booleans()):
        cells[data.draw(st.integers(0, len(cells) - 1))] = data.draw(st.sampled_from(STRANGE))
    space, datatype = data.draw(SPACES), data.draw(DATATYPES)
    width = data.draw(st.sampled_from([0, 1, 2, 3]))
    comma = f"{space},{space}"
    if width:
        rows = [cells[at : at + width] for at in range(0, len(cells), width)]
        text = "[" + comma.join(f"[{space}{comma.join(row)}{space}]" for row in rows) + "]"
        shape = [len(rows), width]
    else:
        text, shape = f"[{space}{comma.join(cells)}{space}]", [len(cells), 1]
    same_both_ways(body_of(shape, datatype, text, space), datatype)


def test_a_list_that_is_cut_out_gives_the_same_bytes_or_the_same_refusal(reader: str) -> None:
    _differs_nowhere()


@pytest.mark.parametrize("strange", STRANGE)
def test_what_json_does_not_take_or_the_model_refuses_is_told_as_before(reader: str, strange: str) -> None:
    for data in (f"[1, {strange}, 2]", f"[[1], [{strange}], [2]]", f"[{strange}]", f"[1, 2, {strange}]"):
        same_both_ways(body_of([3, 1], "FP32", data), "FP32")


@pytest.mark.parametrize(
    "data",
    [
        "[1,,2]", "[1,2,]", "[,1]", "[1 2]", "[[1,2],[3]]", "[[1,2] [3,4]]", "[[1,2],,[3,4]]", "[[1,2],[3,4],]",
        "[[1],2]", "[1,[2]]", "[[1,[2]],[3,4]]", "[[1,2],[[3,4]]]", "[[[1],[2]]]", "[]", "[[]]", "[[],[]]",
        "[1,2", "[[1,2]", "[1,2]]", "5", "[[1,2],[3,4]] 7",
    ],
)  # fmt: skip
def test_lists_of_another_structure_are_told_as_before(reader: str, data: str) -> None:
    for shape in ([2, 2], [2, 1], [1, 2], [0, 1]):
        same_both_ways(body_of(shape, "FP32", data), "FP32")


@pytest.mark.parametrize(
    "body",
    [
        '{"inputs":[{"name":"X","shape":[2,1],"datatype":"FP32","data":[1,2],"data":[3,4]}]}',
        '{"inputs":[{"name":"X","shape":[2,1],"datatype":"FP32","data":[1,2],"data":null}]}',
        '{"inputs":[{"name":"X","shape":[2,1],"datatype":"FP32","x\\"data":[1,2],"data":[3,4]}]}',
        '{"inputs":[{"name":"X","shape":[2,1],"datatype":"FP32","data":[1,2]}],"parameters":{"data":[3,4]}}',
        '{"inputs":[{"name":"X","shape":[2,1],"datatype":"FP32","data":{"":0}}],"parameters":{"data":[3,4]}}',
        '{"inputs":[{"name":"X","shape":[2,1],"datatype":"FP32","data":[1,2]}],"inputs":[]}',
        '{"inputs":[{"name":"X","shape":[2,1],"datatype":"FP32","data":[1,2]},{"name":"Y","shape":[1],"data":[3]}]}',
        '{"id":"\\"data\\":[9]","inputs":[{"data":[1,2],"name":"X","shape":[2,1],"datatype":"FP32"}]}',
        '{"inputs":[{"name":"X","shape":[2,1],"datatype":"FP32","numbers":[7,7],"data":[1,2]}]}',
        '{"inputs":[{"name":"X","shape":[2,1],"datatype":"FP32","data":[1,2]}]',
        '"data":[1,2]',
    ],
)
def test_keys_that_come_twice_or_elsewhere_mean_what_they_meant(reader: str, body: str) -> None:
    same_both_ways(body.encode(), "FP32")


def test_plain_rows_are_read_in_pieces_and_not_twice(reader: str, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(3).normal(size=(1000, 20)).astype(np.float32)
    for data in (values.ravel().tolist(), values.tolist()):
        body = body_of([1000, 20], "FP32", json.dumps(data))
        (read,) = read_infer(Request("POST", INFER, body))[0].inputs
        assert isinstance(read, ReadTensor)
        assert np.array_equal(read.numbers.reshape(1000, 20), values)


def test_a_number_is_too_large_for_a_nested_list_where_it_is_for_a_flat_one() -> None:
    least = "3.4028235e38"  # rounds to the largest FP32
    for data in (f"[{least}, 1, {least}, 2]", f"[[{least}, 1], [{least}, 2]]"):
        assert outcome(body_of([2, 2], "FP32", data), "FP32", long_bytes=1 << 30)[0] == 200
