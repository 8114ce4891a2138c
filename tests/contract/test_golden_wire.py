"""Bytes on the wire are the contract: a change here breaks devices in the field."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from contract.messages import Ack, Heartbeat, Presence, Report, Telemetry
from contract.trust import chain
from contract.trust.documents import read_desired
from contract.wire import decode
from firmware_sim.fleet_keys import WORLD_BEGAN

WIRE = Path(__file__).parents[1] / "data" / "wire"


def load_examples() -> ModuleType:
    spec = importlib.util.spec_from_file_location("wire_examples", Path(__file__).with_name("wire_examples.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


EXAMPLES: dict[str, bytes] = load_examples().examples()


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_the_encoded_bytes_equal_those_on_file(name: str) -> None:
    assert EXAMPLES[name] == (WIRE / f"{name}.json").read_bytes()


def test_every_file_has_an_example() -> None:
    assert sorted(path.stem for path in WIRE.iterdir()) == sorted(EXAMPLES)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("presence", Presence),
        ("report_state", Report),
        ("report_refusal", Report),
        ("heartbeat", Heartbeat),
        ("telemetry", Telemetry),
        ("ack", Ack),
    ],
)
def test_bytes_on_file_are_still_decoded(name: str, kind: type) -> None:
    decode((WIRE / f"{name}.json").read_bytes(), kind)


def test_signed_documents_on_file_are_still_verified() -> None:
    given = chain.trust_root((WIRE / "root.json").read_text())
    trusted = chain.follow(given, (WIRE / "trust.json").read_bytes(), WORLD_BEGAN)
    trusted = chain.take_role(trusted, "weather", (WIRE / "model_role.json").read_bytes(), WORLD_BEGAN)
    role = chain.role_of(trusted, "weather")
    assert role is not None
    assert list(role.manifests) == [2]
    assert read_desired((WIRE / "desired.json").read_bytes(), chain.targets_of(trusted)).version == 4
