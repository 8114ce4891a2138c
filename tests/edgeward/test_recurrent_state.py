"""The state options of a push: the controller reads what the client sends, and an error names the field."""

import json
from decimal import Decimal
from typing import Any

import pytest

from contract.errors import BadInput
from contract.recurrent import StateAsked
from contract.wire import decode
from controller.api.routes import PushRequest
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
    ]
    for given, words in cases:
        with pytest.raises(BadInput, match=words):
            RecurrentState(**given).encode()
