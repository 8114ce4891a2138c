"""Values of the rooms that decide are frozen: they cannot change after a decision was made from them."""

import importlib
import pkgutil

import msgspec
import pytest

ROOMS = [
    "agent.core",
    "contract.trust",
    "controller.alerts",
    "controller.drift",
    "controller.fleet",
    "controller.gates",
    "controller.retraining",
    "controller.rollout",
]


def structs_of(room: str) -> list[type[msgspec.Struct]]:
    package = importlib.import_module(room)
    modules = [importlib.import_module(f"{room}.{found.name}") for found in pkgutil.iter_modules(package.__path__)]
    return [
        each
        for module in [package, *modules]
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, msgspec.Struct) and each.__module__ == module.__name__
    ]


@pytest.mark.parametrize("room", [*ROOMS, "contract"])
def test_every_value_is_frozen(room: str) -> None:
    found = structs_of(room)
    assert found
    assert [each.__qualname__ for each in found if not each.__struct_config__.frozen] == []
