"""Each of the six questions has one page with its own address and the right answer about the staged fleet."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.edgeward.six_questions import QUESTIONS, Question
from tests.edgeward.staged_fleet import NOW, TOKEN, served
from tests.integration.page_browser import NEEDS_CHROMIUM, SLOW_MS, WIDE, chromium, until

pytestmark = NEEDS_CHROMIUM


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    """A browser page in the session of a reader; its clock shows NOW, as the controller's clock does."""
    with served() as url, chromium() as browser:
        context = browser.new_context(base_url=url, viewport=WIDE, reduced_motion="reduce")
        found = context.new_page()
        found.set_default_timeout(SLOW_MS)
        found.clock.set_fixed_time(datetime.fromtimestamp(NOW, UTC))
        found.goto(f"/fleet#token={TOKEN}&actor=mara")
        found.wait_for_selector("nav.nav")
        yield found


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda each: each.asked)
def test_one_page_answers_all_questions_correctly(page: Any, question: Question) -> None:
    page.goto(question.address)
    part = page.locator(question.part)
    until(lambda: all(words in shown(part) for words in question.on_page), 20)
    assert [each for each in question.says_not if each in shown(part)] == []


def shown(part: Any) -> str:
    """Returns the text of an element on one line."""
    return " ".join(part.inner_text().split())
