"""The routes of the page's sessions: a token is exchanged for a cookie once, and the page asks for its holder.

Decides the cookie's attributes. Refuses to know what a session says: that is in `trust.sessions`.
"""

import math
import time
from typing import Annotated

import msgspec
from aiohttp import web

from contract.errors import BadInput, Code
from contract.wire import Message, decode, encode
from controller.api.auth import (
    SESSIONS,
    check_page_header,
    count_failure,
    session_holder,
    session_of,
    subject_of,
    token_holder,
)
from controller.api.route import Route
from controller.api.state_key import STATE
from controller.clock import stamp_of
from controller.trust.access import PERMISSIONS, Subject
from controller.trust.sessions import LOCAL, MAX_SESSION_S, Session
from controller.verbs.sign_in import sign_out

MAX_LOGIN_BYTES = 1024
COOKIE_PATH = "/v1"
"""The cookie is sent to the API alone: the page's files need none."""


class LoginRequest(Message, frozen=True):
    """A token, posted once."""

    token: Annotated[str, msgspec.Meta(max_length=256)]
    actor: Annotated[str, msgspec.Meta(max_length=64)] = ""
    """The holder of the local token, for the audit; other tokens have a known holder."""


class Me(Message, frozen=True):
    """The holder of the session or the token."""

    name: str
    roles: tuple[str, ...]
    permissions: tuple[str, ...]
    """What all roles together allow."""
    scope: str
    """The part of the fleet on which the caller may act, in words; empty: all of it."""
    approves: bool
    """False for the local token, with any roles: approval needs a person with their own token."""
    session_ends_at: str
    """Empty without a session."""
    token_ends_at: str
    """Empty for the local token, which has no end, and without a session."""


async def log_in(request: web.Request) -> web.Response:
    """Exchanges a token for a session cookie. BadInput `unauthenticated` for a token that is not valid."""
    check_page_header(request)
    asked = decode(await request.read(), LoginRequest, max_bytes=MAX_LOGIN_BYTES)
    now = time.time()
    holder = token_holder(request, asked.token, asked.actor, now)
    if holder is None:
        count_failure(request, "token")
        raise BadInput(Code.UNAUTHENTICATED, "this token is wrong, revoked or expired; `edgeward page` has one")
    identifier, subject, token_ends_at = holder
    session = Session(
        token=identifier,
        actor=asked.actor if identifier == LOCAL else "",
        expires_at=min(now + MAX_SESSION_S, token_ends_at),
    )
    answer = web.Response(body=encode(_me(subject, session, token_ends_at)), content_type="application/json")
    give_session(request, answer, session, is_tls=_is_tls(request))
    return answer


def give_session(request: web.Request, answer: web.Response, session: Session, *, is_tls: bool) -> None:
    """Adds the cookie of a session to an answer."""
    sessions = request.app[SESSIONS]
    answer.set_cookie(
        sessions.cookie,
        sessions.seal(session),
        path=COOKIE_PATH,
        httponly=True,
        samesite="Strict",
        secure=is_tls,
    )


async def log_out(request: web.Request) -> web.Response:
    """Makes the browser forget its session, and ends the token of a sign-in."""
    if (session := session_of(request, time.time())) is not None:
        sign_out(request.app[STATE], session.token)
    answer = web.json_response({"ended": True})
    answer.del_cookie(request.app[SESSIONS].cookie, path=COOKIE_PATH, httponly=True, samesite="Strict")
    return answer


async def show_me(request: web.Request) -> Me:
    """Returns the caller's name, roles, and the end of the session."""
    session, found = session_of(request, time.time()), session_holder(request)
    return _me(subject_of(request), session, found[1] if found is not None else math.inf)


async def show_session(request: web.Request) -> Me | None:
    """Returns the holder of the request's session; null without one, which is no error: the person is not signed in."""
    found, session = session_holder(request), session_of(request, time.time())
    return _me(found[0], session, found[1]) if found is not None else None


def _me(subject: Subject, session: Session | None, token_ends_at: float) -> Me:
    permissions = {each for role in subject.roles for each in PERMISSIONS[role]}
    return Me(
        name=subject.name,
        roles=tuple(sorted(subject.roles)),
        permissions=tuple(sorted(permissions)),
        scope=subject.scope.words,
        approves="approve" in permissions and not subject.local,
        session_ends_at=stamp_of(session.expires_at) if session is not None else "",
        token_ends_at=stamp_of(token_ends_at) if math.isfinite(token_ends_at) else "",
    )


def _is_tls(request: web.Request) -> bool:
    """Returns whether the browser reached the page by TLS: behind a proxy only the browser itself knows,
    by its origin.
    """
    return request.secure or request.headers.get("Origin", "").startswith("https://")


SESSION_ROUTES = (
    Route("view", "GET", "/v1/me", show_me, "The caller and the caller's roles", Me),
    Route(
        "nothing", "POST", "/v1/session", log_in, "Exchange a token for the page's session cookie", Me, LoginRequest,
        max_body_bytes=MAX_LOGIN_BYTES,
    ),
    Route("nothing", "GET", "/v1/session", show_session, "The holder of the browser's session; or null", Me | None),
    Route("view", "DELETE", "/v1/session", log_out, "End the page's session", dict[str, bool]),
)  # fmt: skip
