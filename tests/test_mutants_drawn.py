"""Which small wrong changes are made, and that a change is found by its lines after they have moved."""

import pytest

pytest.importorskip("mutmut", reason="the extra `mutants` is not installed: make mutants installs it")

from tools.mutants.operators import mutants_of

SOURCE = '''
"""A room."""


def ratio(hits: int | None, total: int = 4) -> float:
    if hits is None or total == 0:
        raise ValueError("no hits at all")
    word = "serve"
    return max(hits, 0, key=None) / total
'''


def drawn(source: str) -> list[tuple[int, str, str]]:
    found = []
    for mutant in mutants_of("room.py", source):
        before, after = source.splitlines(), mutant.source().splitlines()
        (changed,) = [new for old, new in zip(before, after, strict=True) if old != new]
        found.append((mutant.line, mutant.operator, changed.strip()))
    return found


def test_conditions_numbers_words_and_arguments_are_changed_one_at_a_time() -> None:
    found = drawn(SOURCE)
    for expected in (
        (5, "number", "def ratio(hits: int | None, total: int = 5) -> float:"),
        (6, "keywords", "if hits is not None or total == 0:"),
        (6, "swap_op", "if hits is None and total == 0:"),
        (6, "number", "if hits is None or total == 1:"),
        (8, "string", 'word = "SERVE"'),
        (9, "swap_op", "return max(hits, 0, key=None) * total"),
        (9, "arg_removal", "return max(0, key=None) / total"),
    ):
        assert expected in found


def test_sentences_annotations_and_returned_none_are_not_changed() -> None:
    changed = [line for _, _, line in drawn(SOURCE)]
    assert not [line for line in changed if "&" in line or "XXno hits" in line or "NO HITS" in line]
    assert "word = None" not in changed
    assert "return max(None, 0, key=None) / total" not in changed
    assert "raise ValueError()" not in changed


def test_the_same_source_gives_the_same_mutants() -> None:
    assert drawn(SOURCE) == drawn(SOURCE)
    assert len(drawn(SOURCE)) > 10
