"""skl2onnx does not search a forest for pipelines; the test fails if a new version of it searches elsewhere."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skl2onnx
from skl2onnx.common import utils_sklearn
from sklearn.ensemble import RandomForestClassifier

from controller.convert import options_as_given
from controller.convert.sample_frame import read_sample
from controller.convert.sklearn import convert


def test_every_module_of_skl2onnx_that_searches_is_listed() -> None:
    root = Path(skl2onnx.__file__).parent
    calling = {path.name for path in root.rglob("*.py") if "= _process_options(" in path.read_text()}
    assert calling == {Path(module.__file__).name for module in options_as_given.PLACES}


def test_a_conversion_enumerates_no_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    def search(*_: Any, **__: Any) -> Any:
        raise AssertionError("searched")

    monkeypatch.setattr(utils_sklearn, "enumerate_model_names", search)
    rows = np.random.default_rng(0).normal(size=(60, 3))
    model = RandomForestClassifier(2, random_state=0).fit(rows, rows[:, 0] > 0)
    assert convert(model, read_sample(rows, named=False), "float32")
