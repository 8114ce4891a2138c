"""A version that would refuse callers of the running one needs an option, and its rollout is announced."""

from typing import Any

import pytest
from msgspec.structs import replace

from contract.desired import TrialPolicy
from contract.errors import BadInput, Code
from contract.interface import interface_change
from contract.manifest import Manifest, Tensor
from contract.messages import ModelState, VersionRef
from controller.fleet.twin import Twin
from controller.reconcile.preview import plan_rollout
from controller.reconcile.world import Durable, World
from controller.rollout.model import Rollout, Strategy, Wave
from firmware_sim.models import make_model

OLD = make_model(1, "good").manifest
NEW = make_model(2, "good").manifest
STRATEGY = Strategy(name="s", waves=(Wave(percent=100),))
MAY = replace(STRATEGY, trial=TrialPolicy(signature="may_change"))


def retyped(datatype: str = "INT64") -> Manifest:
    return replace(NEW, inputs=(replace(NEW.inputs[0], datatype=datatype),))


def plan(manifest: Manifest, strategy: Strategy = STRATEGY, **changes: Any) -> Rollout:
    stable = VersionRef(release=1, digest=OLD.artifact.sha256)
    state = ModelState(model="m", phase="steady", generation=1, stable=stable)
    world = World(silent_s=90.0, durable=Durable({"a": Twin("a", reported={"m": state}), "b": Twin("b")}))
    known: dict[str, Any] = {"running": {1: OLD}} | changes
    return plan_rollout(world, manifest, strategy, name="r", model="m", selector={}, now=0.0, **known)


def test_a_plan_refuses_another_signature_with_the_difference_the_devices_and_what_to_do() -> None:
    with pytest.raises(BadInput) as caught:
        plan(retyped())
    assert caught.value.code == Code.SIGNATURE_CHANGED
    assert "input 'X' is INT64 [-1, 1], it was FP32 [-1, 1]" in caught.value.detail
    assert "v2 refuses callers of v1, which 1 devices run" in caught.value.detail
    assert 'signature = "may_change"' in caught.value.detail


def test_a_strategy_may_allow_another_signature_and_a_model_that_no_device_runs_may_have_any() -> None:
    assert len(plan(retyped(), MAY).members) == 2
    assert len(plan(retyped(), running={}).members) == 2
    assert len(plan(NEW).members) == 2


X = Tensor(name="X", datatype="FP32", shape=(-1, 2))
Y = Tensor(name="label", datatype="INT64", shape=(-1,))
P = Tensor(name="probabilities", datatype="FP32", shape=(-1, 2))
BASE = replace(OLD, inputs=(X,), outputs=(Y, P), columns=("a", "b"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ""),
        ({"inputs": (replace(X, dimensions=("n", "")),)}, ""),
        ({"outputs": (Y, P, replace(P, name="score"))}, ""),
        ({"inputs": (replace(X, shape=(-1, 3)),)}, "input 'X' is FP32 [-1, 3], it was FP32 [-1, 2]"),
        ({"inputs": (replace(X, datatype="FP64"),)}, ""),
        ({"inputs": (replace(X, datatype="FP16"),)}, "input 'X' is FP16 [-1, 2], it was FP32 [-1, 2]"),
        ({"inputs": (replace(X, datatype="INT64"),)}, "input 'X' is INT64 [-1, 2], it was FP32 [-1, 2]"),
        ({"outputs": (Y, replace(P, datatype="FP64"))}, "output 'probabilities' is FP64 [-1, 2], it was FP32 [-1, 2]"),
        ({"inputs": (replace(X, name="Z"),)}, "input 'X' is gone; input 'Z' is new"),
        ({"inputs": (X, replace(X, name="Z"))}, "input 'Z' is new"),
        ({"outputs": (Y,)}, "output 'probabilities' is gone"),
        ({"outputs": (replace(Y, datatype="BYTES"), P)}, "output 'label' is BYTES [-1], it was INT64 [-1]"),
        ({"columns": ("b", "a")}, "its columns come in another order"),
        ({"columns": ("a", "c")}, "its columns are without b and with c"),
        ({"task": "regression"}, "it is a regression, not a classification"),
    ],
)
def test_differences_for_a_caller_are_described_in_words(changes: dict[str, Any], words: str) -> None:
    assert interface_change(BASE, replace(BASE, **changes)) == words


def test_a_sentence_names_three_differences_and_counts_the_others() -> None:
    many = replace(BASE, inputs=tuple(replace(X, name=name) for name in "pqrst"))
    assert interface_change(BASE, many).endswith(", and 3 more")
