"""Labels that devices send later join the captured row, once and in any order; a deleted row stays deleted."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.captured import Captured, CapturedRow, LateLabel
from contract.erasure import Erasure
from controller.registry import late_labels
from controller.registry.captures import Captures
from controller.registry.erasures import Request


def row(name: str, *, key: str = "", label: str | None = None) -> CapturedRow:
    return CapturedRow(
        at=1.0, model="m", release=1, why="hard", inputs={"x": 1}, value="1", id=name, key=key, label=label
    )


def said(name: str, label: str | float, model: str = "m") -> LateLabel:
    return LateLabel(model=model, id=name, label=label)


def batch(seq: int, *parts: CapturedRow | LateLabel) -> Captured:
    rows = tuple(each for each in parts if isinstance(each, CapturedRow))
    labels = tuple(each for each in parts if isinstance(each, LateLabel))
    return Captured(protocol=1, device="d", boot=1, seq=seq, rows=rows, labels=labels)


@pytest.fixture
def captures(tmp_path: Path) -> Iterator[Captures]:
    made = Captures(tmp_path / "captured.sqlite")
    yield made
    made.close()


def labels_of(captures: Captures) -> list[tuple[str, str, str | float | None]]:
    return [(device, row.id, row.label) for _, device, row in captures.rows_of("m")]


def waiting(captures: Captures) -> int:
    return int(captures._db.execute("SELECT COUNT(*) FROM waiting_labels").fetchone()[0])


def test_a_label_joins_the_row_of_its_own_device_and_is_in_the_table_of_labelled_rows(captures: Captures) -> None:
    captures.keep([("d", batch(1, row("a-1"), row("a-2"))), ("e", batch(1, row("a-1")))])
    captures.keep([("d", batch(2, said("a-1", "yes")))])
    assert labels_of(captures) == [("d", "a-1", "yes"), ("d", "a-2", None), ("e", "a-1", None)]
    assert [each.label for each in captures.labelled("m", 9)] == ["yes"]
    assert captures.given_since("m", 1.0) == 0, "nobody was asked for it: it costs no label budget"


def test_a_repeated_batch_of_labels_and_a_second_label_change_nothing(captures: Captures) -> None:
    captures.keep([("d", batch(1, row("a-1", label="first"), row("a-2")))])
    for seq, label in ((2, "second"), (2, "third"), (3, "fourth")):
        captures.keep([("d", batch(seq, said("a-1", label), said("a-2", label)))])
    assert labels_of(captures) == [("d", "a-1", "first"), ("d", "a-2", "second")]
    assert waiting(captures) == 0


def test_a_label_that_arrives_before_its_row_waits_for_it(captures: Captures) -> None:
    captures.keep([("d", batch(1, said("a-1", 0.5)))])
    captures.keep([("e", batch(1, row("a-1"))), ("d", batch(2, row("a-1")))])
    assert labels_of(captures) == [("e", "a-1", None), ("d", "a-1", 0.5)]
    assert [each.label for each in captures.labelled("m", 9)] == [0.5]
    assert waiting(captures) == 0


def test_a_label_of_another_model_does_not_join(captures: Captures) -> None:
    captures.keep([("d", batch(1, row("a-1"), said("a-1", "x", model="other")))])
    assert labels_of(captures) == [("d", "a-1", None)]


def test_a_deleted_row_stays_deleted_and_its_label_does_not_wait(captures: Captures) -> None:
    order = Erasure(id="del-1", keys=("ada",))
    captures.keep([("d", batch(1, row("a-1", key="ada"), said("a-7", "x")))])
    captures.refused = (Request(order=order, by="t", reason="asked", asked_at=0.0),)
    numbers = captures.concerned(order, None)
    assert len(numbers) == 1
    captures.erase(numbers)
    captures.erase_waiting(order, None)
    assert waiting(captures) == 0, "whose row it is nobody can tell"
    captures.keep([("d", batch(2, said("a-1", "yes"), row("a-1", key="ada"), row("a-2")))])
    captures.keep([("d", batch(3, said("a-1", "yes"), said("a-2", "no")))])
    assert labels_of(captures) == [("d", "a-2", "no")]
    assert waiting(captures) == 0


def test_waiting_labels_are_limited_for_each_device_and_in_total(
    captures: Captures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(late_labels, "MAX_WAITING_PER_DEVICE", 3)
    monkeypatch.setattr(late_labels, "MAX_WAITING", 5)
    for number in range(4):
        captures.keep([(f"d{number}", batch(1, *(said(f"a-{each}", 1) for each in range(9))))])
    found = captures._db.execute("SELECT device, answer FROM waiting_labels ORDER BY id").fetchall()
    assert found == [("d2", "a-7"), ("d2", "a-8"), ("d3", "a-6"), ("d3", "a-7"), ("d3", "a-8")]


def test_an_older_database_and_a_damaged_row_in_it_lose_no_label(tmp_path: Path) -> None:
    path = tmp_path / "captured.sqlite"
    made = Captures(path)
    made.keep([("d", batch(1, row("a-1"), row("a-2")))])
    made.close()
    old = sqlite3.connect(path)
    old.executescript(
        "DROP TABLE waiting_labels; DROP INDEX captured_answer; UPDATE captured SET body = x'7b22' WHERE id = 1"
    )
    old.close()
    again = Captures(path)
    again.keep([("d", batch(2, said("a-1", "x"), said("a-2", "y")))])
    assert [each.label for each in again.labelled("m", 9)] == ["y"]
    again.close()


def test_finding_a_row_by_its_answer_reads_no_other_row(captures: Captures) -> None:
    plan = captures._db.execute(f"EXPLAIN QUERY PLAN {late_labels._FIND}", ("d", "a-1", "m")).fetchall()
    assert "captured_answer" in plan[0][3]
