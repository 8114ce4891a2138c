"""The content of a stick: a fault affects only its own device, and is named."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from contract import topics
from contract.blobs import sha256_hex
from contract.errors import BadInput, Code
from controller.fleet.twin import Assigned
from controller.state import State
from controller.verbs import sticks
from tests.controller.test_retained import DAMAGED, WHOLE, two_devices


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    made = two_devices(tmp_path)
    yield made
    made.close()


def test_a_stick_gets_the_documents_and_blobs_of_the_named_devices(state: State) -> None:
    found = sticks.export(state, ["a"])
    assert (found.devices, found.missing) == (["a"], {})
    assert topics.desired("a") in found.documents
    assert topics.desired("b") not in found.documents
    assert sha256_hex(WHOLE) in {blob.sha256 for blob in found.blobs}
    with pytest.raises(BadInput) as caught:
        sticks.export(state, ["a", "stranger"])
    assert caught.value.code == Code.UNKNOWN_DEVICE


def test_a_version_missing_in_the_registry_leaves_only_its_device_out_of_the_stick(state: State) -> None:
    twins = state.world.durable.twins
    twins["b"] = replace(twins["b"], desired={"n": Assigned(release=77, generation=2, rollout="r")})
    found = sticks.export(state, ["a", "b"])
    assert found.devices == ["a"]
    assert {topics.desired("a"), topics.trust()} <= set(found.documents)
    assert list(found.missing) == ["b"]
    assert "unknown_version" in found.missing["b"]
    digests = {blob.sha256 for blob in found.blobs}
    assert sha256_hex(WHOLE) in digests
    assert sha256_hex(DAMAGED) not in digests
