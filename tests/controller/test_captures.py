"""Captured inferences on the controller's disk: each once, even if it is sent again, with a limit for each model."""

from pathlib import Path

import pytest

from contract.captured import Captured, CapturedRow
from contract.erasure import Erasure
from controller.registry.captures import Captures


def batch(boot: int, seq: int, *numbers: int, model: str = "m") -> Captured:
    rows = tuple(
        CapturedRow(at=float(number), model=model, release=1, why="hard", inputs={"x": number}, value="1")
        for number in numbers
    )
    return Captured(protocol=1, device="d", boot=boot, seq=seq, rows=rows)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "captured.sqlite"


def dates(captures: Captures, model: str = "m", after: int = 0) -> list[float]:
    return [row.at for _, _, row in captures.rows_of(model, after)]


def test_a_repeated_batch_changes_nothing_and_neither_after_a_restart(path: Path) -> None:
    first = Captures(path)
    first.keep([("d", batch(1, 1, 1, 2)), ("d", batch(1, 1, 1, 2)), ("d", batch(1, 3, 3))])
    first.close()
    again = Captures(path)
    again.keep([("d", batch(1, 3, 3)), ("d", batch(2, 1, 4))])
    assert dates(again) == [1.0, 2.0, 3.0, 4.0]
    again.close()


def test_two_devices_may_use_the_same_numbers(path: Path) -> None:
    captures = Captures(path)
    captures.keep([("a", batch(1, 1, 1)), ("b", batch(1, 1, 2))])
    assert [(device, row.at) for _, device, row in captures.rows_of("m")] == [("a", 1.0), ("b", 2.0)]
    captures.close()


def test_the_oldest_rows_of_a_full_model_are_dropped_and_other_models_keep_theirs(path: Path) -> None:
    captures = Captures(path, max_rows_per_model=3)
    captures.keep([("d", batch(1, 1, 1, 2, model="other"))])
    for number in range(2, 10):
        captures.keep([("d", batch(1, number, number))])
    assert dates(captures) == [7.0, 8.0, 9.0]
    assert dates(captures, "other") == [1.0, 2.0]
    captures.close()


def test_a_device_that_sends_without_pause_does_not_displace_rows_of_others(path: Path) -> None:
    captures = Captures(path, max_rows_per_model=10)
    captures.keep([("a", batch(1, 1, 1, 2)), ("b", batch(1, 1, 3))])
    for number in range(2, 50):
        captures.keep([("flood", batch(1, number, 100 + number, 200 + number))])
    found = [(device, row.at) for _, device, row in captures.rows_of("m")]
    assert found[:3] == [("a", 1.0), ("a", 2.0), ("b", 3.0)]
    assert found[-1] == ("flood", 249.0)
    assert len(found) == 10
    captures.close()


def test_late_labels_join_only_rows_of_the_model(path: Path) -> None:
    captures = Captures(path)
    captures.keep([("d", batch(1, 1, 1, 2)), ("e", batch(1, 1, 3, model="other"))])
    assert captures.label("m", {1: "yes", 2: 0.5, 3: "no", 99: "no"}, 1000.0) == 2
    captures.close()
    again = Captures(path)
    assert [row.label for row in again.labelled("m", 10)] == [0.5, "yes"]
    assert (again.given_since("m", 1000.0), again.given_since("m", 1001.0), again.given_since("other", 0.0)) == (
        2,
        0,
        0,
    )
    assert [row.label for _, row in again.newest_of("m", 0.0, 10)] == [0.5, "yes"]
    assert [row.label for _, row in again.newest_of("m", 2.0, 10)] == [0.5]
    assert [row.label for _, row in again.newest_of("other", 0.0, 10)] == [None]
    again.close()


def test_a_page_continues_after_an_id(path: Path) -> None:
    captures = Captures(path)
    captures.keep([("d", batch(1, 1, *range(10)))])
    first = captures.rows_of("m", limit=4)
    assert [row.at for _, _, row in first] == [0.0, 1.0, 2.0, 3.0]
    assert dates(captures, after=first[-1][0]) == [float(number) for number in range(4, 10)]
    captures.close()


def test_a_page_of_rows_that_nobody_can_read_is_not_the_end(path: Path) -> None:
    captures = Captures(path)
    captures.keep([("d", batch(1, 1, *range(6)))])
    captures._db.execute("UPDATE captured SET body = ? WHERE id <= 4", (b'{"at":null}',))
    assert [row.at for _, _, row in captures.rows_of("m", limit=2)] == [4.0, 5.0]
    captures.close()


def test_an_unreadable_row_loses_only_itself_and_is_deleted_with_any_deletion(path: Path) -> None:
    captures = Captures(path)
    captures.keep([("d", batch(1, 1, 1, 2, 3))])
    captures._db.execute("UPDATE captured SET body = ? WHERE id = 2", (b'{"at":null}',))
    assert dates(captures) == [1.0, 3.0]
    assert captures.find("m", "2") is None
    assert captures.label("m", {1: "a", 2: "b", 3: "c"}, 1.0) == 2
    numbers = captures.concerned(Erasure(id="del-1", model="m", before=2), None)
    assert numbers == [1, 2]
    captures.erase(numbers)
    assert dates(captures) == [3.0]
    captures.close()
