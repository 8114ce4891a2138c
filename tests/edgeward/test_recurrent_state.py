"""The state options of a push: the controller reads what the client sends, and an error names the field."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from contract.errors import BadInput
from contract.manifest import StateRules, Tensor
from contract.recurrent import StateAsked, initial_of, state_of
from contract.tensors import encode_tensors
from contract.wire import decode, encode
from controller.api.routes import PushRequest
from edgeward.cli.model import _state
from edgeward.recurrent import RecurrentState


def test_the_controller_reads_the_state_that_the_client_sends() -> None:
    given = RecurrentState({"h_in": "h_out"}, initial=1e-9, reset_after_s=30, max_keys=7)
    request = json.dumps({"kind": "onnx", "recurrent": given.encode()}).encode()
    found = decode(request, PushRequest).recurrent
    assert found == StateAsked(
        feeds={"h_in": "h_out"}, initial=Decimal("1e-9"), reset_after_s=Decimal("30.0"), max_keys=7
    )


def test_a_misuse_names_its_field() -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"feeds": ["h_in"]}, "state.feeds is a list"),
        ({"feeds": {"h": "o"}, "initial": "zeros"}, "state.initial is 'zeros'"),
        ({"feeds": {"h": "o"}, "max_keys": 1.5}, "state.max_keys is 1.5"),
        ({"feeds": {"h": "o"}, "initial": {"h": "ones"}}, r"state.initial\['h'\] is 'ones'"),
        ({"feeds": {"h": "o"}, "initial": {"h": [[1], [2, 3]]}}, r"state.initial\['h'\] is a list"),
    ]
    for given, words in cases:
        with pytest.raises(BadInput, match=words):
            RecurrentState(**given).encode()


INPUTS = (Tensor(name="x", datatype="FP32", shape=(-1, 1)), Tensor(name="h_in", datatype="FP32", shape=(2, -1, 3)))
OUTPUTS = (Tensor(name="y", datatype="FP32", shape=(-1, 1)), Tensor(name="h_out", datatype="FP32", shape=(2, -1, 3)))


def rules_for(initial: Any) -> StateRules:
    """Returns what a device is told, by way of the request and of the manifest's bytes."""
    given = RecurrentState({"h_in": "h_out"}, initial=initial)
    asked = decode(json.dumps({"kind": "onnx", "recurrent": given.encode()}).encode(), PushRequest).recurrent
    assert asked is not None
    return decode(encode(state_of(asked, INPUTS, OUTPUTS)[0]), StateRules)


def test_a_state_begins_with_the_array_that_was_given() -> None:
    begins = np.random.default_rng(1).normal(size=(2, 4, 3))
    (tensor,) = rules_for({"h_in": begins}).tensors
    found = initial_of(tensor)
    assert (tensor.shape, found.dtype) == ((2, 4, 3), np.float32), "the dynamic dimension is the array's"
    np.testing.assert_array_equal(found, begins.astype(np.float32))
    assert (initial_of(rules_for({}).tensors[0]) == np.zeros((2, 1, 3))).all()


@pytest.mark.parametrize(
    ("initial", "words"),
    [
        ({"c_in": np.ones((2, 1, 3))}, "an array for 'c_in', which is no state: h_in"),
        ({"h_in": np.ones((1, 1, 3))}, r"shape \[1, 1, 3\]; the model takes \[2, -1, 3\]"),
        ({"h_in": np.full((2, 1, 3), np.nan)}, "no finite numbers of FP32"),
        ({"h_in": np.full((2, 1, 3), 1e39)}, "no finite numbers of FP32"),
        ({"h_in": np.ones((2, 0, 3))}, "no finite numbers"),
        ({"h_in": np.ones((2, 400, 3))}, "takes 9600 bytes, limit 8192"),
    ],
)
def test_an_array_that_cannot_be_the_beginning_is_refused_in_words(initial: Any, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        rules_for(initial)


def test_numbers_that_a_state_of_integers_cannot_hold_are_refused() -> None:
    inputs, outputs = ([msgspec.structs.replace(each, datatype="INT8") for each in side] for side in (INPUTS, OUTPUTS))
    arrays = encode_tensors({"h_in": np.full((2, 1, 3), 200)})
    with pytest.raises(BadInput, match="none of INT8"):
        state_of(StateAsked(feeds={"h_in": "h_out"}, arrays=arrays), inputs, outputs)


def test_the_command_line_takes_a_number_or_a_file_of_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "h.npz", h_in=np.ones((2, 1, 3)))
    given = _state(("h_in=h_out",), str(tmp_path / "h.npz"), 0.0, 64)
    assert given is not None
    assert isinstance(given.initial, dict)
    assert given.initial["h_in"].shape == (2, 1, 3)
    assert _state(("h_in=h_out",), "0.5", 0.0, 64) == RecurrentState({"h_in": "h_out"}, 0.5)
    with pytest.raises(BadInput, match="no number, and as a file: No such file"):
        _state(("h_in=h_out",), "nowhere.npz", 0.0, 64)
