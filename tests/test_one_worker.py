"""The files that one worker runs in one piece exist, and share what one of them makes."""

from pathlib import Path

import pytest

from tests.conftest import ONE_WORKER, FilesInOnePiece

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("path", sorted(ONE_WORKER))
def test_a_file_that_runs_on_one_worker_has_a_module_fixture(path: str) -> None:
    assert 'scope="module"' in (ROOT / path).read_text()


def test_tests_of_such_a_file_run_on_one_worker_and_others_are_spread() -> None:
    scope = FilesInOnePiece._split_scope
    one, other = (f"tests/integration/test_bucket.py::test_{name}" for name in ("a", "b[x::y]"))
    assert scope(None, one) == scope(None, other) == "tests/integration/test_bucket.py"  # type: ignore[arg-type]
    assert scope(None, "tests/test_docs.py::test_a") != scope(None, "tests/test_docs.py::test_b")  # type: ignore[arg-type]
