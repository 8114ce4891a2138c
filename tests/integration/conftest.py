"""The browser of all tests that look at the page: one for each file."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.page_browser import chromium


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found
