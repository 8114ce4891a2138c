"""The routes of what people write beside rollouts and models.

Decides addresses. Refuses to know what may be written.
"""

from aiohttp import web

from contract.wire import Message, decode
from controller.api.auth import actor_of
from controller.api.route import Route
from controller.api.state_key import STATE
from controller.api.version_routes import TextRequest
from controller.registry.discussions import About, Discussion
from controller.verbs import discussing


class TicketRequest(Message, frozen=True):
    """The address of a ticket; empty removes it."""

    ticket: str


class ReviewRequest(Message, frozen=True):
    """A person who is asked to look at a rollout or a model."""

    who: str
    text: str = ""


def _about(request: web.Request) -> tuple[About, str]:
    if "rollout" in request.match_info:
        return "rollout", request.match_info["rollout"]
    return "model", request.match_info["model"]


async def show(request: web.Request) -> Discussion:
    """Returns what people wrote."""
    return discussing.of(request.app[STATE], *_about(request))


async def put_note(request: web.Request) -> Discussion:
    """Replaces the note; an empty text removes it."""
    text = decode(await request.read(), TextRequest).text
    return discussing.write_note(request.app[STATE], *_about(request), text, actor=actor_of(request))


async def put_ticket(request: web.Request) -> Discussion:
    """Sets the address of a ticket; an empty one removes it."""
    ticket = decode(await request.read(), TicketRequest).ticket
    return discussing.set_ticket(request.app[STATE], *_about(request), ticket, actor=actor_of(request))


async def post_comment(request: web.Request) -> Discussion:
    """Appends a comment; people who are mentioned with an @ are notified by an event."""
    text = decode(await request.read(), TextRequest).text
    return discussing.comment(request.app[STATE], *_about(request), text, actor=actor_of(request))


async def post_review(request: web.Request) -> Discussion:
    """Asks a person to look at a rollout or a model."""
    asked = decode(await request.read(), ReviewRequest)
    return discussing.ask_review(request.app[STATE], *_about(request), asked.who, asked.text, actor=actor_of(request))


def _routes(below: str) -> tuple[Route, ...]:
    there = f"{below}/discussion"
    return (
        Route("view", "GET", there, show, "What people wrote beside it", Discussion),
        Route("rollout", "PUT", f"{there}/note", put_note, "Replace the note", Discussion, TextRequest),
        Route("rollout", "PUT", f"{there}/ticket", put_ticket, "Set the ticket's address", Discussion, TicketRequest),
        Route("view", "POST", f"{there}/comments", post_comment, "Write a comment", Discussion, TextRequest),
        Route("view", "POST", f"{there}/reviews", post_review, "Ask somebody to look", Discussion, ReviewRequest),
    )


DISCUSSION_ROUTES = (*_routes("/v1/rollouts/{rollout}"), *_routes("/v1/models/{model}"))
