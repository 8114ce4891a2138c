"""Decides that worlds do not count as coverage. Refuses to know any world.

A world passes through nearly every line and looks at none by itself; the laws judge what comes out. Lines count as
covered by the tests of their own room. Measuring them here takes 2.5 times as long.
"""

from pathlib import Path

import pytest

WORLDS = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks every test of this folder `no_cover`, which pytest-cov reads."""
    for item in items:
        if WORLDS in item.path.parents:
            item.add_marker(pytest.mark.no_cover)
