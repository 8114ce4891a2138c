"""Rows of what devices measured against the same sums kept in plain dictionaries."""

import dataclasses
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.histogram import LATENCY_BUCKETS
from controller.rollout import rows as module
from controller.rollout.facts import BUCKET_S, Sums
from controller.rollout.rows import COUNTS, HOUR_S, RECENT_S, Rows, Table

Added = list[tuple[int, int, bool, int]]
"""Device, minute, whether it is the release's, inferences."""

ADDED = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 400), st.booleans(), st.integers(1, 9)), min_size=1, max_size=90
)


def sums(inferences: int) -> Sums:
    counts = [0] * LATENCY_BUCKETS
    counts[inferences % LATENCY_BUCKETS] = inferences
    return Sums(inferences=inferences, errors=inferences // 2, latency_counts=tuple(counts))


def filled(added: Added) -> Rows:
    rows = Rows()
    for device, minute, treated, inferences in added:
        rows.add(f"d{device}", minute * BUCKET_S + 7.0, sums(inferences), treated=treated)
    return rows


def content(table: Table) -> dict[tuple[str, float, bool], tuple[float, float, tuple[float, ...]]]:
    return {
        (table.names[table.device[each]], float(table.start[each]), bool(table.treated[each])): (
            float(table.column("inferences")[each]),
            float(table.column("errors")[each]),
            tuple(table.latency[table.row[each]]),
        )
        for each in range(len(table.start))
    }


def expected(
    added: Added, start_of: dict[int, float] | None = None
) -> dict[tuple[str, float, bool], tuple[float, float, tuple[float, ...]]]:
    found: dict[tuple[str, float, bool], list[Sums]] = defaultdict(list)
    for device, minute, treated, inferences in added:
        start = minute * BUCKET_S if start_of is None else start_of[minute]
        found[f"d{device}", start, treated].append(sums(inferences))
    return {
        key: (
            float(sum(each.inferences for each in parts)),
            float(sum(each.errors for each in parts)),
            tuple(float(sum(column)) for column in zip(*(each.latency_counts for each in parts), strict=True)),
        )
        for key, parts in found.items()
    }


@given(ADDED)
def test_counts_of_a_device_a_side_and_a_minute_are_added_up(added: Added) -> None:
    rows = filled(added)
    assert content(rows.table()) == expected(added)
    assert len(rows) == len(expected(added))


@given(ADDED)
def test_older_minutes_are_merged_by_the_hour_and_nothing_is_lost(added: Added) -> None:
    rows, now, mark = filled(added), 400 * BUCKET_S, 90 * BUCKET_S
    rows.merge_hours(now, marks=[mark])
    limit = (now - RECENT_S) // HOUR_S * HOUR_S
    starts = {}
    for minute in range(401):
        start = minute * BUCKET_S
        hour = start // HOUR_S * HOUR_S
        starts[minute] = start if start >= limit else max(hour, mark) if start >= mark > hour else hour
    assert content(rows.table()) == expected(added, starts)
    rows.add("d0", 400 * BUCKET_S, sums(3), treated=True)
    assert content(rows.table())["d0", 400 * BUCKET_S, True][0] >= 3


@given(ADDED, st.sets(st.integers(0, 3)))
def test_removed_devices_leave_no_counts(added: Added, gone: set[int]) -> None:
    rows = filled(added)
    rows.drop({f"d{device}" for device in gone})
    left = [each for each in added if each[0] not in gone]
    assert content(rows.table()) == expected(left)
    assert rows == filled(left)


@given(ADDED, st.booleans())
def test_histograms_are_added_up_by_device(added: Added, treated: bool) -> None:
    table = filled(added).table()
    found = table.histograms(table.treated == treated)
    wanted = np.zeros((len(table.names), LATENCY_BUCKETS))
    for device, _, side, inferences in added:
        if side == treated:
            wanted[table.names.index(f"d{device}")] += sums(inferences).latency_counts
    assert np.array_equal(found, wanted)


def test_beyond_the_maximum_of_rows_the_older_half_of_the_hours_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ROWS", 5)
    added = [(0, minute, False, 1) for minute in (0, 60, 120, 180, 240, 300)]
    rows = filled(added)
    rows.merge_hours(10 * HOUR_S)
    assert sorted(rows.table().start) == [3 * HOUR_S, 4 * HOUR_S, 5 * HOUR_S]


def test_rows_are_merged_once_an_hour() -> None:
    rows = filled([(0, 0, False, 1)])
    rows.tend(10 * HOUR_S)
    rows.add("d0", BUCKET_S, sums(1), treated=False)
    rows.tend(11 * HOUR_S - 1)
    assert len(rows) == 2
    rows.tend(11 * HOUR_S)
    assert len(rows) == 1


def test_a_table_names_the_rows_of_the_wanted_devices_and_knows_each_count() -> None:
    table = filled([(0, 0, False, 2), (1, 0, False, 4)]).table()
    assert table.of_devices(lambda name: name == "d1").tolist() == [False, True]
    assert Rows().table().of_devices(lambda _: True).tolist() == []
    assert [table.column(name).shape for name in COUNTS] == [(2,)] * len(COUNTS)
    with pytest.raises(dataclasses.FrozenInstanceError):
        table.names = ()  # type: ignore[misc]
