"""Checks the token and the permission of every request: denies by default, limits guesses, never says why a token
is wrong.

A route without a permission in the table is closed to all callers. Failed attempts are limited by address and kind of
proof, calls by subject. A proof is checked before the limit applies, so that many wrong proofs never block a correct
one.
"""

import hmac
import math
import time
from typing import Literal, get_args

from aiohttp import web

from contract.errors import BadInput, Code
from controller.api.addresses import block_of, client_of
from controller.api.errors import Handler, status_of
from controller.api.limits import Limiter
from controller.api.state_key import STATE
from controller.config import ApiConfig
from controller.trust.access import ALL_ROLES, PERMISSIONS, Permission, Subject
from controller.trust.refusals import Refusal
from controller.trust.sessions import LOCAL, Session, Sessions
from controller.trust.tokens import Tokens
from controller.verbs import refusals

Needs = Permission | Literal["nothing"]
Proof = Literal["token", "claim", "signature", "sign_in"]
TOKEN = web.AppKey("token", str)
TOKENS = web.AppKey("tokens", Tokens)
SESSIONS = web.AppKey("sessions", Sessions)
NEEDS = web.AppKey("needs", dict[tuple[str, str], Needs])
PROOFS = web.AppKey("proofs", dict[tuple[str, str], Proof])
API = web.AppKey("api", ApiConfig)
SUBJECT = web.RequestKey("subject", Subject)
FAILED = web.AppKey("failed", dict[Proof, Limiter])
CALLS = web.AppKey("calls", Limiter)
AUDITED = (401, 403, 421, 429)
MAX_PATH_CHARS = 200
"""The most characters of a path in the audit: all that a route can name."""
PAGE_HEADER = "X-Edgeward-Page"
"""The header that the page sends beside its cookie with every request that changes something. Pages of other origins
cannot send it: a browser would first ask this server for permission, which it never gives."""
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def failures() -> dict[Proof, Limiter]:
    """Returns limits on failed attempts of an address, by kind of proof: twenty at once, then one in three seconds."""
    return {proof: Limiter(per_s=1 / 3, burst=20) for proof in get_args(Proof)}


def calls() -> Limiter:
    """Returns the limit on calls of one subject."""
    return Limiter(per_s=100, burst=400)


@web.middleware
async def note_refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Passes every refused attempt to the audit, under the subject's name or the caller's address."""
    try:
        return await handler(request)
    except BadInput as error:
        if status_of(error) in AUDITED:
            subject = request.get(SUBJECT)
            where = _attempt(request, known=subject is not None)
            actor = subject.name if subject else address_of(request)
            if error.code == Code.OUTSIDE_SCOPE and subject is not None:
                where = f"{where}; the token is for {subject.scope.words}"
            refusals.refuse(request.app[STATE], Refusal(actor, "refused", error.code, where))
        raise


def _attempt(request: web.Request, *, known: bool) -> str:
    """Returns the attempt for the audit: with names only for known callers, so that strangers cannot fill the audit."""
    if request.match_info.http_exception is not None:
        return "no such route"
    method, path = entry_of(request)
    return f"{method} {request.path[:MAX_PATH_CHARS] if known else path}"


@web.middleware
async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Checks a request and calls its handler.

    BadInput `unauthenticated`, `forbidden` or `rate_limited` if it is refused.
    """
    needs = request.app[NEEDS].get(entry_of(request))
    if needs == "nothing":
        return await _prove(request, handler)
    subject = _authenticate(request)
    request[SUBJECT] = subject
    if not request.app[CALLS].allows(subject.name, time.monotonic()):
        raise BadInput(Code.RATE_LIMITED, "too many calls: wait a second")
    if request.match_info.http_exception is not None:
        return await handler(request)  # no such route: the answers 404 and 405 reveal nothing
    if words := role_refusal(subject, needs):
        raise BadInput(Code.FORBIDDEN, words)
    return await handler(request)


def role_refusal(subject: Subject, needs: Needs | None) -> str:
    """Returns why none of the caller's roles allows the request; empty if one does."""
    if needs is None or needs == "nothing" or not subject.may(needs):
        return f"{subject.name} may not do this: {_needed(needs)}"
    return ""


def _needed(needs: Needs | None) -> str:
    roles = [role for role, may in PERMISSIONS.items() if needs in may]
    return f"it needs the role {' or '.join(roles)}" if roles else "nobody may"


def actor_of(request: web.Request) -> str:
    """Returns the name that the audit gives to the caller of a request."""
    subject = request.get(SUBJECT)
    return subject.name if subject is not None else "unknown"


def subject_of(request: web.Request) -> Subject:
    """Returns the authenticated caller of a request."""
    return request[SUBJECT]


def address_of(request: web.Request) -> str:
    """Returns the address, or the block of addresses, under which a request is counted."""
    api = request.app[API]
    said = request.headers.getall(api.forwarded_header, [])
    return block_of(client_of(request.remote or "", said, api.trusted_proxies, api.forwarded_header))


def still_good(request: web.Request) -> bool:
    """Tells whether the token of a long request is still valid: neither revoked nor expired."""
    return _subject(request) is not None


def token_holder(request: web.Request, token: str, actor: str, now: float) -> tuple[str, Subject, float] | None:
    """Returns (the token's id, its holder, its end in seconds since 1970); None for an invalid token."""
    if hmac.compare_digest(token.encode(errors="surrogateescape"), request.app[TOKEN].encode()):
        return LOCAL, _local(actor), math.inf
    return request.app[TOKENS].valid(token, now)


def session_of(request: web.Request, now: float) -> Session | None:
    """Returns the page's session in a request; None if there is none."""
    sessions = request.app[SESSIONS]
    return sessions.read(request.cookies.get(sessions.cookie, ""), now)


def session_holder(request: web.Request) -> tuple[Subject, float] | None:
    """Returns (holder, end of the token in seconds since 1970) of the page's session; None without a valid one."""
    now = time.time()
    session = session_of(request, now)
    if session is None:
        return None
    if session.token == LOCAL:
        return _local(session.actor), math.inf
    return request.app[TOKENS].holder(session.token, now)


def check_page_header(request: web.Request) -> None:
    """Raises BadInput `forbidden` for a request that a page of another origin could have sent."""
    if PAGE_HEADER not in request.headers:
        raise BadInput(Code.FORBIDDEN, f"send the header {PAGE_HEADER} beside the session's cookie")


def count_failure(request: web.Request, proof: Proof) -> None:
    """Counts a failed attempt; BadInput `rate_limited` once the address has failed too often with this
    kind of proof.
    """
    if not request.app[FAILED][proof].allows(address_of(request), time.monotonic()):
        raise BadInput(Code.RATE_LIMITED, "too many failed attempts from this address: wait a minute")


async def _prove(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answers a call whose body contains its proof. Failed attempts of other callers do not block a correct proof."""
    proof = request.app[PROOFS].get(entry_of(request), "token")
    try:
        return await handler(request)
    except BadInput:
        if proof != "token":
            count_failure(request, proof)
        raise


def _authenticate(request: web.Request) -> Subject:
    subject = _subject(request)
    if subject is None:
        count_failure(request, "token")
        raise BadInput(Code.UNAUTHENTICATED, "send a valid token: Authorization: Bearer TOKEN")
    return subject


def _subject(request: web.Request) -> Subject | None:
    """Returns the caller by its token, or by the page's session. A session may change something only with the page's
    header.
    """
    now = time.time()
    if "Authorization" in request.headers:
        given = request.headers["Authorization"].removeprefix("Bearer ")
        holder = token_holder(request, given, request.headers.get("X-Edgeward-Actor", ""), now)
        return holder[1] if holder is not None else None
    found = session_holder(request)
    if found is None:
        return None
    if request.method not in SAFE_METHODS:
        check_page_header(request)
    return found[0]


def _local(actor: str) -> Subject:
    return Subject(f"local:{actor[:64] or 'somebody'}", frozenset(ALL_ROLES), local=True)


def entry_of(request: web.Request) -> tuple[str, str]:
    """Returns the route's method and path as they are written in the table."""
    resource = request.match_info.route.resource
    return request.method, resource.canonical if resource is not None else request.path
