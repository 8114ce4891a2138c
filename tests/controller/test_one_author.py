"""No author fills a place for everybody: what a person may add who may only look has a limit for each author.

Decides which routes such a person may write by: a new one has to be named here, with what limits it.
"""

from pathlib import Path

import pytest

from contract.errors import BadInput, Code
from controller.api.routes import ROUTES
from controller.registry.discussions import MAX_ASKED_BY_ONE, MAX_REVIEWERS, Discussions, Review
from controller.registry.store import TinyStore
from controller.written import MAX_COMMENTS, MAX_COMMENTS_OF_ONE, Written

ADDS = {
    "/v1/rollouts/{rollout}/discussion/comments",
    "/v1/models/{model}/discussion/comments",
    "/v1/rollouts/{rollout}/discussion/reviews",
    "/v1/models/{model}/discussion/reviews",
}
KEEPS_NOTHING = {"/v1/alert-rules/test", "/v1/rollouts/plan", "/v1/rollouts/{rollout}/preview", "/v1/session"}


@pytest.fixture
def discussions(tmp_path: Path) -> Discussions:
    return Discussions(TinyStore(tmp_path))


def comment(by: str) -> Written:
    return Written(text="x", by=by, at="t")


def review(who: str, by: str) -> Review:
    return Review(who=who, by=by, at="t")


def test_every_route_by_which_a_viewer_writes_is_limited_for_each_author_or_keeps_nothing() -> None:
    writing = {each.path for each in ROUTES if each.needs == "view" and each.method != "GET"}
    assert writing == ADDS | KEEPS_NOTHING


def test_one_author_leaves_room_for_the_comments_of_others(discussions: Discussions) -> None:
    for _ in range(MAX_COMMENTS_OF_ONE):
        discussions.comment("model", "iris", comment("viewer"))
    with pytest.raises(BadInput, match="50 comments by viewer, which is the limit for one author") as caught:
        discussions.comment("model", "iris", comment("viewer"))
    assert caught.value.code == Code.REQUEST_INVALID
    assert len(discussions.comment("model", "iris", comment("mara")).comments) == MAX_COMMENTS_OF_ONE + 1
    assert MAX_COMMENTS_OF_ONE < MAX_COMMENTS


def test_one_author_leaves_room_for_the_questions_of_others(discussions: Discussions) -> None:
    for number in range(MAX_ASKED_BY_ONE):
        discussions.ask("rollout", "r-1", review(f"person-{number}", "viewer"))
    with pytest.raises(BadInput, match="viewer waits for 5 people beside r-1"):
        discussions.ask("rollout", "r-1", review("one-more", "viewer"))
    discussions.looked("rollout", "r-1", "person-0", "t")
    found = discussions.ask("rollout", "r-1", review("one-more", "viewer"))
    assert "jon" in discussions.ask("rollout", "r-1", review("jon", "mara")).waits_for
    assert len(found.waits_for) == MAX_ASKED_BY_ONE < MAX_REVIEWERS


def test_nobody_is_told_twice_and_no_author_takes_anothers_question_over(discussions: Discussions) -> None:
    discussions.ask("model", "iris", review("jon", "mara"))
    for author in ("mara", "viewer"):
        with pytest.raises(BadInput, match="mara has asked jon already, who has not looked yet"):
            discussions.ask("model", "iris", review("jon", author))
    discussions.comment("model", "iris", comment("jon"))
    assert discussions.ask("model", "iris", review("jon", "viewer")).reviews == (review("jon", "viewer"),)
