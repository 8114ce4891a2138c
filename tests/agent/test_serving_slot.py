import itertools
import threading
import time
from contextlib import nullcontext

import numpy as np
import pytest

from agent.core.model import Assignment
from agent.ports import Array, Inputs, Sample
from agent.serving.observed import MAX_NOTES
from agent.serving.pipeline import run_pipeline
from agent.serving.rows import RowEncoder
from agent.serving.slot import ModelSlot
from agent.serving.tally import MAX_LABELS
from contract.desired import TrialPolicy
from contract.errors import BadInput, Code, WorldError
from contract.manifest import Manifest, Tensor
from contract.wire import Message
from firmware_sim.models import SimSession, make_model


def replace(value: Message, **changes: object) -> Manifest:
    import msgspec

    return msgspec.structs.replace(value, **changes)  # type: ignore[return-value]


def assignment(release: int = 1, **changes: object) -> Assignment:
    manifest = replace(make_model(release, "good").manifest, **changes)
    return Assignment(model="m", generation=release, manifest=manifest, policy=TrialPolicy())


class Says:
    """A session that answers as the test says."""

    def __init__(self, *answers: object, dtype: object = None) -> None:
        self._answers = itertools.cycle(answers)
        self._dtype = dtype

    def run(self, inputs: Inputs) -> list[Array]:
        return [np.array([next(self._answers)], dtype=self._dtype)]


def good() -> SimSession:
    return SimSession("good", lambda _: None)


def slot_with(session: object, **changes: object) -> ModelSlot:
    slot = ModelSlot("m", perf_s=time.perf_counter, lock=nullcontext())
    slot.swap(slot.prepare(assignment(**changes), session))  # type: ignore[arg-type]
    return slot


def test_nothing_serves_at_first() -> None:
    slot = ModelSlot("m", perf_s=time.perf_counter, lock=nullcontext())
    assert slot.predict(Sample({"x": 1.0})) is None
    assert slot.take_tally() is None


def test_an_answer_names_its_version() -> None:
    prediction = slot_with(good()).predict(Sample({"x": 1.0}))
    assert prediction is not None
    assert (prediction.model, prediction.release, prediction.value) == ("m", 1, "1")


def test_labels_count_towards_accuracy_in_any_spelling() -> None:
    slot = slot_with(Says(1, 1, 0))
    for label in ("1.0", True, "True"):
        slot.predict(Sample({"x": 0}, label))
    interval = slot.take_tally()
    assert interval is not None
    assert (interval.inferences, interval.labelled, interval.correct, interval.predictions) == (
        3,
        3,
        2,
        {"1": 2, "0": 1},
    )


def test_a_regression_counts_its_absolute_error() -> None:
    slot = slot_with(Says(2.5), task="regression")
    slot.predict(Sample({"x": 0}, 2))
    slot.predict(Sample({"x": 0}, 4))
    interval = slot.take_tally()
    assert interval is not None
    assert (interval.labelled, interval.absolute_error_sum) == (2, 2.0)


def test_a_value_that_is_not_finite_counts_as_an_error() -> None:
    slot = slot_with(Says(float("nan")), task="regression")
    slot.predict(Sample({"x": 0}))
    assert slot.serving is not None
    assert slot.serving.observed.judged_inferences.errors == 1


def test_a_session_that_raises_is_counted_and_has_an_error_code() -> None:
    slot = slot_with(SimSession("raises", lambda _: None))
    with pytest.raises(BadInput) as caught:
        slot.predict(Sample({"x": 1.0}))
    assert caught.value.code == Code.SAMPLE_INVALID
    interval = slot.take_tally()
    assert interval is not None
    assert (interval.inferences, interval.errors) == (1, 1)


def test_rare_labels_are_merged_so_that_a_message_stays_small() -> None:
    slot = slot_with(Says(*range(40)))
    for _ in range(40):
        slot.predict(Sample({"x": 0}))
    interval = slot.take_tally()
    assert interval is not None
    assert len(interval.predictions) == MAX_LABELS + 1
    assert interval.predictions["other"] == 40 - MAX_LABELS


def test_a_missing_column_is_named() -> None:
    with pytest.raises(BadInput) as caught:
        slot_with(good()).predict(Sample({"y": 1.0}))
    assert "'x'" in caught.value.detail


def test_text_that_is_not_a_number_is_refused_with_its_column_and_without_the_text() -> None:
    encoder = RowEncoder(make_model(1, "good").manifest)
    with pytest.raises(BadInput) as caught:
        encoder.arrays({"x": "warm"})
    assert caught.value.detail == "column 'x': text of 4 characters that is no number"


def test_an_empty_cell_is_nan() -> None:
    assert np.isnan(RowEncoder(make_model(1, "good").manifest).arrays({"x": None})["X"]).all()


def test_one_input_per_column_keeps_each_type() -> None:
    tensors = (Tensor(name="t", datatype="FP32", shape=(-1, 1)), Tensor(name="site", datatype="BYTES", shape=(-1, 1)))
    arrays = RowEncoder(replace(make_model(1, "good").manifest, inputs=tensors, columns=("t", "site"))).arrays(
        {"site": 12, "t": "1.5"}
    )
    assert (arrays["t"].dtype, arrays["t"][0, 0], arrays["site"][0, 0]) == (np.dtype("float32"), 1.5, "12")


def test_a_swap_during_constant_inference_loses_no_request_and_never_mixes_answers() -> None:
    slot = ModelSlot("m", perf_s=time.perf_counter, lock=threading.Lock())
    slot.swap(slot.prepare(assignment(1), Says(1)))
    stop, seen, failures = threading.Event(), set[tuple[int, object]](), list[object]()

    def infer() -> None:
        while not stop.is_set():
            prediction = slot.predict(Sample({"x": 1}))
            if prediction is None:
                failures.append("unserved")
            else:
                seen.add((prediction.release, prediction.value))

    threads = [threading.Thread(target=infer) for _ in range(3)]
    for thread in threads:
        thread.start()
    replaced = [slot.swap(slot.prepare(assignment(1 + number % 2), Says(1 + number % 2))) for number in range(300)]
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert seen <= {(1, "1"), (2, "2")}
    assert all(old is not None and not old.in_flight for old in replaced)


def test_the_stall_of_a_swap_is_the_longest_inference_that_overlapped_it() -> None:
    slot = slot_with(good())
    slot.watch_stall()
    slot.predict(Sample({"x": 1}))
    assert slot.take_stall_ms() > 0
    assert slot.take_stall_ms() == 0


def test_a_pipeline_counts_rows_that_it_cannot_answer_and_continues() -> None:
    from collections import Counter

    dropped: Counter[str] = Counter()
    answered: list[object] = []
    rows = [Sample({"x": 1}), BadInput(Code.SAMPLE_INVALID, "not JSON"), Sample({}), Sample({"x": 2})]
    run_pipeline(rows, slot_with(good()), dropped, answered.append)
    assert (len(answered), dropped) == (2, {"rows_malformed": 1, "rows_failed": 1})
    run_pipeline([Sample({"x": 1})], ModelSlot("m", perf_s=time.perf_counter, lock=nullcontext()), dropped)
    assert dropped["rows_unserved"] == 1


class Dies:
    """A session whose worker has died."""

    def run(self, inputs: Inputs) -> list[Array]:
        raise WorldError(Code.WORKER_FAILED, "it has ended")


def test_stable_answers_for_a_dead_worker_and_health_counts_the_death() -> None:
    slot = slot_with(good())
    stable = slot.serving
    trial = slot.prepare(assignment(2), Dies())
    slot.swap(trial)
    slot.fallback = stable
    prediction = slot.predict(Sample({"x": 1.0}, 1))
    assert prediction is not None
    assert (prediction.release, prediction.value) == (1, "1")
    rows = {"X": np.array([[2.0]], dtype=np.float32)}
    assert slot.run(rows)[0].item() == 1
    assert slot.run_or_fall_back(trial, rows)[0] is stable
    assert (len(trial.observed.judged_inferences), trial.observed.judged_inferences.errors) == (3, 3)
    assert stable is not None
    assert stable.observed.judged_inferences.errors == 0


def test_a_request_without_a_fallback_fails_and_says_why() -> None:
    slot = slot_with(Dies())
    with pytest.raises(BadInput, match="worker_failed"):
        slot.predict(Sample({"x": 1.0}))
    with pytest.raises(WorldError, match="worker_failed"):
        slot.run({"X": np.array([[2.0]], dtype=np.float32)})


def test_tensors_while_nothing_serves_are_an_error_of_the_world() -> None:
    with pytest.raises(WorldError, match="not_serving"):
        ModelSlot("m", perf_s=time.perf_counter, lock=nullcontext()).run({})


def test_tensors_are_counted_like_rows() -> None:
    slot = slot_with(Says([1, 0, 1]))
    slot.run({"X": np.zeros((3, 1), dtype=np.float32)})
    interval = slot.take_tally()
    assert interval is not None
    assert (interval.inferences, interval.predictions) == (1, {"1": 2, "0": 1})


def test_a_tensor_that_holds_nan_counts_as_an_error() -> None:
    slot = slot_with(Says([0.5, float("nan")]), task="regression")
    slot.run({"X": np.zeros((2, 1), dtype=np.float32)})
    assert slot.serving is not None
    assert slot.serving.observed.judged_inferences.errors == 1


def test_notes_have_a_limit_while_nobody_reads_them() -> None:
    slot = slot_with(good())
    for _ in range(3 * MAX_NOTES):
        slot.run({"X": np.array([[2.0]], dtype=np.float32)})
    assert slot.serving is not None
    assert len(slot.serving.observed.notes) < MAX_NOTES
