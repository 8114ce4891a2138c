"""`from agent import Predictor`: the agent inside an application, with a model from flash and without a link."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from agent import Predictor
from agent.adapters.posix_disk import PosixDisk
from agent.core.model import Assignment, Record
from agent.flash.store import Store
from contract.desired import TrialPolicy
from contract.errors import BadInput, Code, WorldError
from firmware_sim.fleet_keys import TRUSTED
from firmware_sim.real_models import make_real_model


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A device that has confirmed release 3, and whose broker is stopped."""
    made = make_real_model(3, "good")
    state = tmp_path / "state"
    store = Store(PosixDisk(state))
    store.write_chunk(made.manifest.artifact, 0, made.artifact)
    store.seal(made.manifest.artifact)
    confirmed = Assignment(model="plant", generation=1, manifest=made.manifest, policy=TrialPolicy())
    store.save_record("plant", Record(generation=1, stable=confirmed))
    (tmp_path / "root.json").write_text(TRUSTED.root, encoding="utf-8")
    path = tmp_path / "agent.toml"
    device = f'[device]\nname = "d1"\nstate_dir = "{state}"\n'
    path.write_text(device + '[broker]\nurl = "mqtt://127.0.0.1:1"\n', encoding="utf-8")
    return path


@pytest.fixture
def predictor(config: Path) -> Iterator[Predictor]:
    with Predictor(config) as found:
        yield found


def test_a_confirmed_version_answers_at_once_without_a_link(predictor: Predictor) -> None:
    plant = predictor.model("plant")
    assert plant.release == 3
    (label,) = plant.run({"X": np.array([[2.0], [-2.0]], dtype=np.float32)})
    assert label.ravel().tolist() == [1, 0]
    assert plant.predict({"x": 2.0}).value == "1"


def test_arrays_are_passed_without_a_copy_and_batches_of_any_size_are_returned(predictor: Predictor) -> None:
    plant = predictor.model("plant")
    for rows in (1, 7, 1000):
        assert plant.run({"X": np.ones((rows, 1), dtype=np.float32)})[0].shape == (rows, 1)


def test_a_row_without_a_column_and_a_model_without_a_version_are_named(predictor: Predictor) -> None:
    with pytest.raises(BadInput, match="'x'"):
        predictor.model("plant").predict({"y": 1.0})
    for call in (lambda: predictor.model("new").run({}), lambda: predictor.model("new").wait(0.05)):
        with pytest.raises(WorldError) as caught:
            call()
        assert caught.value.code == Code.NOT_SERVING


def test_one_state_directory_has_one_agent(predictor: Predictor, config: Path) -> None:
    with pytest.raises(WorldError) as caught:
        Predictor(config)
    assert caught.value.code == Code.DISK_FAILED


def test_another_agent_may_start_after_closing(config: Path) -> None:
    for _ in range(2):
        with Predictor(config) as predictor:
            assert predictor.model("plant").release == 3


def test_a_label_is_given_by_the_id_of_an_answer(predictor: Predictor) -> None:
    plant = predictor.model("plant")
    asked = plant.ask({"X": np.array([[2.0], [-2.0]], dtype=np.float32)})
    assert asked.release == 3
    assert asked.outputs[0].ravel().tolist() == [1, 0]
    assert predictor.feedback(asked.id, [1, None]) == 1
    assert plant.feedback(f"{asked.id}.1", 0) == 1
    assert predictor.feedback(plant.predict({"x": 2.0}).id, "1") == 1
    plant.metric("scrap_rate", 0.25, asked.id)
    plant.metric("scrap_rate", 0.75)
    for again in (asked.id, "ff-0-1", ""):
        with pytest.raises(BadInput):
            predictor.feedback(again, 1)


def test_rows_of_a_frame_are_predicted_one_by_one_and_misuse_is_reported_in_words(predictor: Predictor) -> None:
    plant = predictor.model("plant")
    rows = pd.DataFrame({"x": [2.0, -2.0]})
    assert [each.value for each in plant.predict_rows(rows)] == ["1", "0"]
    assert [each.value for each in plant.predict_rows([{"x": -2.0}])] == ["0"]
    assert plant.predict(rows.iloc[0]).value == "1"
    wrong = {
        "row is a list: pass one row as a dict by column name": lambda: plant.predict([2.0]),
        "row is a DataFrame: pass one row .* several: predict_rows": lambda: plant.predict(rows),
        "rows is a dict: pass a DataFrame, or a list of dicts": lambda: plant.predict_rows({"x": [2.0]}),
        "the inputs are a list; the model takes a dict of arrays by input name, X": lambda: plant.run([2.0]),
        "the inputs are a DataFrame; the model takes a dict": lambda: plant.run(rows),
        r"input 'X' is float64; the model takes float32: pass array.astype\(numpy.float32\)": lambda: plant.run(
            {"X": rows.to_numpy()}
        ),
    }
    for words, call in wrong.items():
        with pytest.raises(BadInput, match=words):
            call()
