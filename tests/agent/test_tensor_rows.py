"""Rows of models that take tensors: pictures, sound, states; by the names of their inputs."""

import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from agent.adapters.sensors.image_files import from_images
from agent.config import ImagesSensor, load_config
from agent.core.model import Assignment
from agent.ports import Array, Inputs, Sample, Stop
from agent.serving.answers import Answers
from agent.serving.distribution import Counts, Distribution
from agent.serving.rows import encoder_of
from agent.serving.shadow import MAX_VALUES, Shadow
from agent.serving.slot import ModelSlot, Serving
from contract.desired import TrialPolicy
from contract.errors import BadInput
from contract.manifest import Manifest, Tensor
from firmware_sim.models import make_model

SOUND = Tensor(name="sound", datatype="FP32", shape=(-1, 4))
STATE = Tensor(name="state", datatype="FP32", shape=(2, -1, 3))
RATE = Tensor(name="rate", datatype="INT64", shape=())
PICTURE = Tensor(name="picture", datatype="FP32", shape=(-1, 3, 2, 2))
A, B = (Tensor(name=name, datatype="FP32", shape=(-1, 1)) for name in "ab")
OUT = (Tensor(name="out", datatype="FP32", shape=(-1, 1)),)


def manifest_of(*inputs: Tensor, columns: tuple[str, ...] = (), **changes: Any) -> Manifest:
    changes = {"inputs": inputs, "outputs": OUT, "columns": columns, "task": "other"} | changes
    return replace(make_model(1, "good").manifest, **changes)


class Keeps:
    """Records its inputs."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Array]] = []

    def run(self, inputs: Inputs, stop: Stop | None = None) -> list[Array]:
        self.asked.append(dict(inputs))
        return [np.ones((1, 1), np.float32)]


def slot_of(manifest: Manifest) -> tuple[ModelSlot, Keeps]:
    slot, session = ModelSlot("m", perf_s=time.perf_counter, lock=threading.Lock()), Keeps()
    assignment = Assignment(model="m", generation=1, manifest=manifest, policy=TrialPolicy())
    distribution = Distribution(manifest, dict, threading.Lock())
    slot.swap(slot.prepare(assignment, session, distribution))
    return slot, session


def test_inputs_of_several_columns_are_passed_by_name_in_any_order_of_columns() -> None:
    for columns in (("a", "b"), ("b", "a")):
        arrays = encoder_of(manifest_of(B, A, columns=columns)).arrays({"a": 1.0, "b": 2.0})
        assert {name: array.item() for name, array in arrays.items()} == {"a": 1.0, "b": 2.0}


def test_cells_are_arrays_or_lists_of_the_inputs_rank_or_one_less_if_the_first_axis_is_rows() -> None:
    slot, session = slot_of(manifest_of(SOUND, STATE, RATE))
    state = np.zeros((2, 1, 3))
    for sound in ([0, 1, 2, 3], [[0, 1, 2, 3]], np.arange(4)):
        found = slot.predict(Sample({"rate": 16_000, "state": state, "sound": sound}))
        assert found is not None
        asked = session.asked[-1]
        assert {name: array.shape for name, array in asked.items()} == {"sound": (1, 4), "state": (2, 1, 3), "rate": ()}
        assert (asked["rate"].dtype, asked["state"].dtype) == (np.int64, np.float32)
    slot.take_tally()


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ({"sound": [1, 2, 3, 4], "rate": 1}, "input 'state' is not there; the row has sound, rate"),
        ({"sound": [1, 2, 3]}, "input 'sound': shape [1, 3], the model takes [-1, 4]"),
        ({"sound": [[[1, 2, 3, 4]]]}, "input 'sound': shape [1, 1, 4]"),
        ({"sound": ["a", 2, 3, 4]}, "input 'sound': could not convert"),
        ({"sound": [[1], [2, 3]]}, "input 'sound': "),
        ({"sound": [1, 2, 3, float("nan")]}, "input 'sound': holds NaN"),
    ],
)
def test_an_error_of_a_cell_names_its_input(cells: dict[str, Any], words: str) -> None:
    encoder = encoder_of(manifest_of(SOUND, STATE, RATE, nan="refuse"))
    with pytest.raises(BadInput) as caught:
        encoder.arrays(cells)
    assert words in caught.value.detail


def test_a_matrix_may_be_given_by_column_or_as_one_list_by_its_name() -> None:
    encoder = encoder_of(manifest_of(SOUND, columns=("x0", "x1", "x2", "x3")))
    by_column = encoder.arrays({f"x{at}": at for at in range(4)})
    assert np.array_equal(by_column["sound"], encoder.arrays({"sound": [0, 1, 2, 3]})["sound"])
    with pytest.raises(BadInput, match="column 'x3' is not there"):
        encoder.arrays({"x0": 1, "x1": 1, "x2": 1})


def test_pictures_are_not_kept_for_counting() -> None:
    seen = Distribution(manifest_of(PICTURE, RATE), dict, threading.Lock())
    seen.see({"picture": np.ones((1, 3, 2, 2)), "rate": np.array(1)}, [np.ones((1, 1))])
    assert seen._waiting[0][0] == []
    assert seen.take() == Counts(features={}, outputs=(), breaches={})


def test_columns_are_counted_by_name_in_any_order() -> None:
    seen = Distribution(manifest_of(B, A, columns=("b", "a")), dict, threading.Lock())
    a, b = np.array([[1.0]]), np.array([[2.0]])
    seen.see({"a": a, "b": b}, [np.ones((1, 1))])
    assert [array.item() for array in seen._waiting[0][0]] == [2.0, 1.0]


def test_a_picture_larger_than_the_shadows_limit_is_not_kept_for_it() -> None:
    assignment = Assignment(model="m", generation=1, manifest=manifest_of(PICTURE), policy=TrialPolicy(mode="shadow"))
    candidate = Serving(assignment, Keeps(), perf_s=time.perf_counter, lock=threading.Lock(), answers=Answers("1-0-"))
    dropped: Counter[str] = Counter()
    shadow = Shadow(candidate, assignment.policy, perf_s=time.perf_counter, dropped=dropped)
    shadow.see_row(manifest_of(PICTURE), {"picture": np.zeros(MAX_VALUES + 1)}, [np.ones((1, 1))])
    assert (dropped["shadow_inferences"], shadow.wake_at()) == (1, None)


@pytest.mark.parametrize("layout", ["hwc", "chw"])
def test_a_picture_becomes_a_tensor_in_the_layout_of_the_model(tmp_path: Path, layout: Any) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    pixels = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 3)
    image.fromarray(pixels).save(tmp_path / "a.png")
    config = ImagesSensor(
        model="m", path=".", width=4, height=4, colours=True, layout=layout, input="picture", existing=True, look_s=0.01
    )
    looks = iter([False, False, False, True])
    (sample,) = from_images(config, tmp_path / "agent.toml", lambda _: next(looks))
    assert isinstance(sample, Sample)
    found = sample.values["picture"]
    assert np.array_equal(found if layout == "hwc" else np.moveaxis(found, 0, 2), pixels)
    wanted = (-1, 4, 4, 3) if layout == "hwc" else (-1, 3, 4, 4)
    encoder = encoder_of(manifest_of(replace(PICTURE, shape=wanted)))
    assert encoder.arrays(sample.values)["picture"].shape == (1, *wanted[1:])


def test_an_images_sensor_with_a_layout_names_its_input(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    sensor = '[[sensor]]\nkind = "images"\nmodel = "m"\npath = "."\nwidth = 4\nheight = 4\nlayout = "hwc"\n'
    path.write_text(f'[device]\nname = "d"\n{sensor}')
    with pytest.raises(BadInput, match="names its input"):
        load_config(path)
