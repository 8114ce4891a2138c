"""What devices count of inputs and answers, by the edges that the model's golden set brings."""

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from agent.serving.distribution import MAX_ROWS, MAX_WAITING, Distribution
from contract.distributions import columns_of, count, edges_of, read_reference, reference_of
from contract.protocol import MAX_BINS, MAX_FEATURES
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


def test_missing_numbers_and_what_lies_outside_have_bins_of_their_own() -> None:
    edges = np.array([0.0, 1.0])
    assert count(np.array([np.nan, -5.0, 0.0, 0.5, 99.0, np.inf]), edges).tolist() == [1, 2, 1, 2]


def test_text_is_counted_by_the_most_frequent_categories() -> None:
    edges = edges_of(np.array(["b"] * 5 + ["a"] * 3 + [f"rare{n:02d}" for n in range(30)], dtype=object))
    assert len(edges) == MAX_BINS - 2
    counts = count(np.array(["a", "b", "b", "never seen"], dtype=object), edges)
    assert (counts[edges.tolist().index("a") + 1], counts[edges.tolist().index("b") + 1], counts[-1]) == (1, 2, 1)


def test_a_column_that_never_varies_or_has_no_number_is_counted_all_the_same() -> None:
    assert count(np.ones(5), edges_of(np.ones(9))).sum() == 5
    assert count(np.ones(5), edges_of(np.full(9, np.nan))).sum() == 5


def test_what_a_device_counts_adds_up_to_the_reference_when_it_meets_the_same_rows() -> None:
    device, reference = distribution(), read_reference(golden(), MANIFEST)
    total: dict[str, Array] = {}
    for start in range(0, 1000, 10):
        rows = SAMPLE[start : start + 10]
        device.see({"X": rows}, [rows.sum(axis=1)])
        features, output = device.take()
        for name, counts in [*features.items(), ("=", output)]:
            total[name] = total.get(name, 0) + np.array(counts)
    assert {name: tuple(counts.tolist()) for name, counts in total.items()} == {
        **reference.feature_counts,
        "=": reference.output_counts,
    }


def test_the_confidence_of_a_classifier_is_counted_in_tenths() -> None:
    sure = np.array([[0.05, 0.95], [0.45, 0.55], [0.6, 0.4]], dtype=np.float32)
    device = distribution(golden(sure.max(axis=1), regression=False), task="classification")
    device.see({"X": SAMPLE[:3]}, [np.array([1, 1, 0]), sure])
    assert {at: counted for at, counted in enumerate(device.take()[1]) if counted} == {6: 1, 7: 1, 10: 1}


def test_a_caller_may_reuse_its_arrays() -> None:
    device = distribution()
    rows = SAMPLE[:1].copy()
    device.see({"X": rows}, [rows.sum(axis=1)])
    before = distribution()
    before.see({"X": SAMPLE[:1]}, [SAMPLE[:1].sum(axis=1)])
    rows[:] = 1e9
    assert device.take() == before.take()


def test_a_flood_of_inferences_costs_a_bounded_look() -> None:
    device = distribution()
    for _ in range(10 * MAX_WAITING):
        device.see({"X": SAMPLE}, [SAMPLE.sum(axis=1)])
    features, _ = device.take()
    assert sum(features["a"]) == MAX_WAITING * MAX_ROWS


def test_a_golden_set_without_a_reference_costs_the_counts_only() -> None:
    device = distribution({})
    device.see({"X": SAMPLE}, [SAMPLE.sum(axis=1)])
    assert device.take() == ({}, ())


def test_a_wide_model_reports_its_first_columns() -> None:
    wide = np.zeros((4, 300), dtype=np.float32)
    names = tuple(f"x{index}" for index in range(300))
    assert tuple(columns_of(names, [wide])) == names[:MAX_FEATURES]


@pytest.mark.parametrize("arrays", [[np.zeros((2, 2))], [np.zeros((2, 3, 3))], [np.zeros((2, 1))] * 2])
def test_tensors_that_are_no_table_are_not_counted_by_column(arrays: list[Array]) -> None:
    assert columns_of(("a", "b", "c"), arrays) == {}


def test_requests_of_other_widths_and_answers_of_other_sizes_cost_no_other_request() -> None:
    device = distribution()
    device.see({"X": SAMPLE[:4]}, [SAMPLE[:4].sum(axis=1)])
    device.see({"X": np.ones((2, 7), dtype=np.float32)}, [np.ones((2, 3), dtype=np.float32)])
    device.see({"X": np.ones((1, 2, 3), dtype=np.float32)}, [np.zeros((0,), dtype=np.float32)])
    device.see({"X": SAMPLE[4:6]}, [np.array(3.0, dtype=np.float32)])
    features, output = device.take()
    assert sum(features["a"]) == 6
    assert sum(output) == 6


def test_a_column_that_cannot_be_told_is_skipped_and_the_others_are_counted() -> None:
    arrays = golden()
    device = distribution(arrays)
    words = np.array([["warm", 1.0, 2.0]], dtype=object)
    device.see({"X": words}, [np.array([1.0], dtype=np.float32)])
    features, output = device.take()
    assert "a" not in features
    assert (sum(features["b"]), sum(output)) == (1, 1)
