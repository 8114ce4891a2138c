"""The counts of inputs and answers on devices, by the bin edges in the model's golden set."""

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from agent.serving.distribution import MAX_ROWS, MAX_WAITING, Counts, Distribution
from contract.distributions import columns_of, count, edges_of, read_reference, reference_of
from contract.protocol import MAX_BINS, MAX_FEATURES
from contract.row_contract import MIN_STUCK_ROWS, Allowed, Breaches, allowed_of
from contract.tensors import Array, decode_tensors, encode_tensors
from firmware_sim.models import make_model

RNG = np.random.default_rng(0)
SAMPLE = RNG.normal(size=(1000, 3)).astype(np.float32)
MANIFEST = replace(make_model(1, "good").manifest, columns=("a", "b", "output"), task="regression")


def golden(answers: Array | None = None, regression: bool = True) -> dict[str, Array]:
    columns = columns_of(MANIFEST.columns, [SAMPLE])
    given = SAMPLE.sum(axis=1) if answers is None else answers
    return decode_tensors(encode_tensors(reference_of(columns, given, regression=regression)))


def distribution(arrays: dict[str, Array] | None = None, **changes: Any) -> Distribution:
    found = golden() if arrays is None else arrays
    return Distribution(replace(MANIFEST, **changes), lambda: found, nullcontext())


def test_the_edges_of_numbers_are_deciles_and_each_value_falls_into_one_bin() -> None:
    edges = edges_of(SAMPLE[:, 0])
    counts = count(SAMPLE[:, 0], edges)
    assert len(edges) == 9
    assert counts[0] == 0
    assert all(90 <= each <= 110 for each in counts[1:])


def test_missing_numbers_and_numbers_outside_the_range_have_their_own_bins() -> None:
    edges = np.array([0.0, 1.0])
    assert count(np.array([np.nan, -5.0, 0.0, 0.5, 99.0, np.inf]), edges).tolist() == [1, 2, 1, 2]


def test_text_is_counted_by_the_most_frequent_categories() -> None:
    edges = edges_of(np.array(["b"] * 5 + ["a"] * 3 + [f"rare{n:02d}" for n in range(30)], dtype=object))
    assert len(edges) == MAX_BINS - 2
    counts = count(np.array(["a", "b", "b", "never seen"], dtype=object), edges)
    assert (counts[edges.tolist().index("a") + 1], counts[edges.tolist().index("b") + 1], counts[-1]) == (1, 2, 1)


def test_a_constant_column_and_a_column_without_numbers_are_counted_too() -> None:
    assert count(np.ones(5), edges_of(np.ones(9))).sum() == 5
    assert count(np.ones(5), edges_of(np.full(9, np.nan))).sum() == 5


def test_counts_of_a_device_equal_the_reference_for_the_same_rows() -> None:
    device, reference = distribution(), read_reference(golden(), MANIFEST)
    total: dict[str, Array] = {}
    for start in range(0, 1000, 10):
        rows = SAMPLE[start : start + 10]
        device.see({"X": rows}, [rows.sum(axis=1)])
        told = device.take()
        for name, counts in [*told.features.items(), ("=", told.outputs)]:
            total[name] = total.get(name, 0) + np.array(counts)
    assert {name: tuple(counts.tolist()) for name, counts in total.items()} == {
        **reference.feature_counts,
        "=": reference.output_counts,
    }


def test_the_confidence_of_a_classifier_has_narrower_bins_near_one() -> None:
    sure = np.array([[0.05, 0.95], [0.45, 0.55], [0.6, 0.4]], dtype=np.float32)
    device = distribution(golden(sure.max(axis=1), regression=False), task="classification")
    device.see({"X": SAMPLE[:3]}, [np.array([1, 1, 0]), sure])
    assert {at: counted for at, counted in enumerate(device.take().outputs) if counted} == {6: 1, 7: 1, 13: 1}


def test_a_caller_may_reuse_its_arrays() -> None:
    device = distribution()
    rows = SAMPLE[:1].copy()
    device.see({"X": rows}, [rows.sum(axis=1)])
    before = distribution()
    before.see({"X": SAMPLE[:1]}, [SAMPLE[:1].sum(axis=1)])
    rows[:] = 1e9
    assert device.take() == before.take()


def test_many_inferences_take_a_bounded_time_to_count() -> None:
    device = distribution()
    for _ in range(10 * MAX_WAITING):
        device.see({"X": SAMPLE}, [SAMPLE.sum(axis=1)])
    assert sum(device.take().features["a"]) == MAX_WAITING * MAX_ROWS


def test_a_golden_set_without_a_reference_only_leaves_out_the_counts() -> None:
    device = distribution({})
    device.see({"X": SAMPLE}, [SAMPLE.sum(axis=1)])
    assert device.take() == Counts({}, (), {})


def test_a_wide_model_reports_its_first_columns() -> None:
    wide = np.zeros((4, 300), dtype=np.float32)
    names = tuple(f"x{index}" for index in range(300))
    assert tuple(columns_of(names, [wide])) == names[:MAX_FEATURES]


@pytest.mark.parametrize("arrays", [[np.zeros((2, 2))], [np.zeros((2, 3, 3))], [np.zeros((2, 1))] * 2])
def test_tensors_that_are_not_tables_are_not_counted_by_column(arrays: list[Array]) -> None:
    assert columns_of(("a", "b", "c"), arrays) == {}


def test_requests_of_other_widths_and_answers_of_other_sizes_change_no_other_request() -> None:
    device = distribution()
    device.see({"X": SAMPLE[:4]}, [SAMPLE[:4].sum(axis=1)])
    device.see({"X": np.ones((2, 7), dtype=np.float32)}, [np.ones((2, 3), dtype=np.float32)])
    device.see({"X": np.ones((1, 2, 3), dtype=np.float32)}, [np.zeros((0,), dtype=np.float32)])
    device.see({"X": SAMPLE[4:6]}, [np.array(3.0, dtype=np.float32)])
    told = device.take()
    features, output = told.features, told.outputs
    assert sum(features["a"]) == 6
    assert sum(output) == 6


def test_a_column_that_cannot_be_counted_is_skipped_and_the_others_are_counted() -> None:
    arrays = golden()
    device = distribution(arrays)
    words = np.array([["warm", 1.0, 2.0]], dtype=object)
    device.see({"X": words}, [np.array([1.0], dtype=np.float32)])
    told = device.take()
    features, output = told.features, told.outputs
    assert "a" not in features
    assert (sum(features["b"]), sum(output)) == (1, 1)


def contracted(**columns: Array) -> Distribution:
    arrays = golden() | allowed_of({name: SAMPLE[:, at] for at, name in enumerate(MANIFEST.columns)} | columns)
    return distribution(decode_tensors(encode_tensors(arrays)))


def seen(device: Distribution, rows: Array) -> dict[str, tuple[int, ...]]:
    for start in range(0, len(rows), MAX_ROWS):
        device.see({"X": rows[start : start + MAX_ROWS]}, [rows[start : start + MAX_ROWS].sum(axis=1)])
    return device.take().breaches


def test_rows_like_those_of_the_sample_break_no_data_contract() -> None:
    assert seen(contracted(), SAMPLE) == {}


def test_missing_and_impossible_cells_and_a_stuck_sensor_are_counted_by_column() -> None:
    rows = SAMPLE[:200].copy()
    rows[3:6, 0] = np.nan
    rows[10, 1] = 1e6
    rows[:, 2] = 0.5
    breaches = seen(contracted(), rows)
    assert breaches == {"a": (3, 0, 0, 0), "b": (0, 1, 0, 0), "output": (0, 0, 0, 200 - MIN_STUCK_ROWS)}


def test_a_sensor_that_is_stuck_is_noticed_across_messages() -> None:
    device, rows = contracted(), np.ascontiguousarray(np.tile(SAMPLE[:1], (MIN_STUCK_ROWS // 2 + 10, 1)))
    assert seen(device, rows) == {}
    assert seen(device, rows)["a"][3] == 20


def test_a_column_with_missing_cells_in_the_sample_may_have_missing_cells_and_a_switch_may_stay_constant() -> None:
    gaps = SAMPLE[:, 0].copy()
    gaps[0] = np.nan
    rows = SAMPLE[:200].copy()
    rows[:100, 0] = np.nan
    rows[:, 1] = 1.0
    assert seen(contracted(a=gaps, b=(SAMPLE[:, 1] > 0).astype(float)), rows) == {}


def test_an_unknown_category_is_a_breach_unless_the_sample_had_too_many_to_list() -> None:
    allowed = Allowed(may_miss=False, low=-np.inf, high=np.inf, stuck_rows=0)
    words = np.array(["red", "green", "mauve"], dtype=object)
    assert Breaches(allowed, frozenset({"red", "green"})).count(words) == (0, 0, 1, 0)
    assert Breaches(allowed, None).count(words) == (0, 0, 0, 0)
