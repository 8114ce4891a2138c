"""A try: a model is converted, judged and measured by real children, and only the audit entry remains."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import FormData
from sklearn.linear_model import LogisticRegression

from contract.samples import encode_sample
from controller.config import Config, StorageConfig
from controller.state import open_state
from edgeward.encode import encode_model
from tests.controller.test_api import call

pytestmark = pytest.mark.usefixtures("conversions_kept")


def test_a_try_measures_a_model_and_registers_no_version(tmp_path: Path) -> None:
    state = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path / "data"))))
    chance = np.random.default_rng(0)
    rows = chance.normal(size=(200, 3)).astype(np.float32)
    kind, raw = encode_model(LogisticRegression().fit(rows, rows[:, 0] > 0))
    form = FormData()
    parts = {"request": json.dumps({"kind": kind}).encode(), "model": raw, "sample": encode_sample(rows)}
    for name, content in parts.items():
        form.add_field(name, content, filename=name)
    status, found = call(state, "POST", "/v1/models/weather/try", data=form)
    assert status == 200, found
    assert found["passed"]
    assert found["estimator"] == "LogisticRegression"
    assert found["size_bytes"] > 100
    assert 0 < found["latency_us_p50"] <= found["latency_us_p95"]
    assert list(state.registry.models()) == []
    assert not state.blobs.path(found["digest"]).exists()
    entry: dict[str, Any] = state.journal.audit_entries(1)[0]
    assert (entry["actor"], entry["action"], entry["subject"]) == ("local:ada", "try", "weather")
    state.close()
