"""What one conversion answers: its bytes, its golden set and the distribution of its sample."""

import asyncio
from typing import Any

import msgspec
import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from contract.distributions import read_reference
from contract.manifest import Manifest
from contract.tensors import decode_tensors
from controller.convert.convert import ConversionLimits, Converted
from edgeward.encode import encode_model, encode_rows
from firmware_sim.models import make_model
from tests.controller.conversions import convert_bytes, form_of

X = np.round(np.random.default_rng(0).normal(20, 5, (1500, 5)), 1)
FOREST = RandomForestClassifier(5, random_state=0).fit(X, (X[:, 0] > 20) & (X[:, 1] < 22))


def convert(model: Any) -> Converted:
    kind, raw = encode_model(model)
    return asyncio.run(convert_bytes(kind, raw, encode_rows(X), ConversionLimits(timeout_s=120, memory_mb=4096)))


@pytest.fixture(scope="module")
def converted() -> Converted:
    return convert(FOREST)


def test_the_same_model_gives_the_same_bytes(converted: Converted) -> None:
    assert form_of(convert(FOREST)) == form_of(converted)


def test_the_golden_set_holds_rows_and_the_answers_of_onnxruntime(converted: Converted) -> None:
    arrays = decode_tensors(form_of(converted)[1])
    assert arrays["in/X"].shape == (64, 5)
    assert converted.answer.form.golden_rows == 64
    assert [name for name in sorted(arrays) if name.startswith(("in/", "out/"))] == [
        "in/X",
        "out/label",
        "out/probabilities",
    ]


def test_the_golden_set_holds_the_distribution_of_the_sample(converted: Converted) -> None:
    manifest = manifest_of(converted)
    reference = read_reference(decode_tensors(form_of(converted)[1]), manifest)
    assert set(reference.features) == set(manifest.columns)
    assert {sum(counts) for counts in reference.feature_counts.values()} == {len(X)}
    assert max(reference.feature_counts["x0"]) <= 0.2 * len(X)  # deciles
    assert sum(reference.output_counts) == len(X)


def manifest_of(converted: Converted) -> Manifest:
    answer = converted.answer
    known = msgspec.structs.asdict(make_model(1, "good").manifest)
    return Manifest(**known | {"task": answer.task, "inputs": answer.inputs, "columns": answer.columns})


def test_onnx_is_accepted_unchanged(converted: Converted) -> None:
    raw = form_of(converted)[0]
    again = convert(raw)
    assert again.answer.as_pushed
    assert form_of(again)[0] == raw
    assert again.answer.parity.reference == "none"
