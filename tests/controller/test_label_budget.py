"""Which rows people are asked to label: twenty a day, half random and half unsure, from every stratum."""

from collections import Counter

from msgspec.structs import replace

from controller.drift.wanted import PER_DAY, Candidate, wanted_rows
from tests.controller.drift_worlds import captured


def rows(
    count: int, device: str = "d", kind: str = "k", first: int = 0, confidence: float | None = 0.9
) -> list[Candidate]:
    return [Candidate(first + at, device, kind, captured(float(at), confidence)) for at in range(count)]


def test_half_of_the_budget_is_random_and_half_has_the_lowest_confidence() -> None:
    found = rows(200)
    unsure = [Candidate(1000 + at, "d", "k", captured(0.0, 0.5 + at / 1000)) for at in range(30)]
    wanted = wanted_rows([*found, *unsure], 0, "today")
    assert Counter(each.why for each in wanted) == {"random": PER_DAY // 2, "uncertain": PER_DAY // 2}
    assert len({each.id for each in wanted}) == PER_DAY
    assert sorted(each.id for each in wanted if each.why == "uncertain")[0] >= 1000


def test_the_same_rows_are_asked_for_all_day_and_others_the_next_day() -> None:
    found = rows(500)
    assert wanted_rows(found, 0, "1") == wanted_rows(list(reversed(found)), 0, "1")
    assert {each.id for each in wanted_rows(found, 0, "1")} != {each.id for each in wanted_rows(found, 0, "2")}


def test_a_large_kind_does_not_displace_a_small_one_nor_an_active_device_a_quiet_one() -> None:
    found = [*rows(5000, "loud", "big"), *rows(40, "quiet", "big", 6000), *rows(40, "only", "small", 7000)]
    asked = Counter(each.device for each in wanted_rows(found, 0, "today"))
    assert asked["only"] >= 8
    assert asked["quiet"] >= 4


def test_the_budget_is_the_rest_of_the_day_and_rows_with_a_label_are_not_asked_for() -> None:
    labelled = [replace(each, row=replace(each.row, label="x")) for each in rows(100)]
    assert wanted_rows(labelled, 0, "today") == []
    assert len(wanted_rows(rows(100), 15, "today")) == 5
    assert wanted_rows(rows(100), 25, "today") == []
    assert len(wanted_rows(rows(3), 0, "today")) == 3


def test_rows_of_a_model_without_confidence_are_asked_for_at_random_only() -> None:
    wanted = wanted_rows(rows(100, confidence=None), 0, "today")
    assert Counter(each.why for each in wanted) == {"random": PER_DAY}
