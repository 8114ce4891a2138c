"""Authentication and permission of every request: deny by default, slow guessing down, never say why a token is wrong.

A route without a permission in the table is closed to everybody. Failed attempts are limited by address, calls by
subject, so that a flood of wrong tokens never keeps an operator out.
"""

import hmac
import time
from typing import Literal

from aiohttp import web

from contract.errors import BadInput, Code
from controller.api.errors import Handler
from controller.api.limits import Limiter
from controller.trust.access import ALL_ROLES, Permission, Subject
from controller.trust.tokens import Tokens

Needs = Permission | Literal["nothing"]
TOKEN = web.AppKey("token", str)
TOKENS = web.AppKey("tokens", Tokens)
NEEDS = web.AppKey("needs", dict[tuple[str, str], Needs])
SUBJECT = web.RequestKey("subject", Subject)
FAILED = web.AppKey("failed", Limiter)
CALLS = web.AppKey("calls", Limiter)


def failures() -> Limiter:
    """The limit on wrong tokens from one address: twenty at once, then one in three seconds."""
    return Limiter(per_s=1 / 3, burst=20)


def calls() -> Limiter:
    """The limit on calls of one subject."""
    return Limiter(per_s=100, burst=400)


@web.middleware
async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Lets a request through or raises BadInput `unauthenticated`, `forbidden`, `rate_limited`."""
    needs = _needs(request)
    if needs == "nothing":
        if request.method == "POST":  # claims and renewals can be guessed at; health cannot
            _slow_down(request, request.app[FAILED])
        return await handler(request)
    subject = _authenticate(request)
    request[SUBJECT] = subject
    if not request.app[CALLS].allows(subject.name, time.monotonic()):
        raise BadInput(Code.RATE_LIMITED, "too many calls: wait a second")
    if request.match_info.http_exception is not None:
        return await handler(request)  # no such route: 404 and 405 are nobody's secret
    if needs is None or not subject.may(needs):
        raise BadInput(Code.FORBIDDEN, f"{subject.name} may not do this: it needs {needs or 'a permission'}")
    return await handler(request)


def actor_of(request: web.Request) -> str:
    """The name that the audit gives to the caller of a request."""
    subject = request.get(SUBJECT)
    return subject.name if subject is not None else "unknown"


def subject_of(request: web.Request) -> Subject:
    """The authenticated caller of a request."""
    return request[SUBJECT]


def failed(request: web.Request) -> None:
    """Counts a failed attempt to prove an identity, by address."""
    request.app[FAILED].allows(_address(request), time.monotonic())


def _authenticate(request: web.Request) -> Subject:
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    if hmac.compare_digest(given.encode(), request.app[TOKEN].encode()):
        name = request.headers.get("X-Edgeward-Actor", "somebody")[:64]
        return Subject(f"local:{name}", frozenset(ALL_ROLES), local=True)
    subject = request.app[TOKENS].subject(given, time.time())
    if subject is None:
        _slow_down(request, request.app[FAILED])
        failed(request)
        raise BadInput(Code.UNAUTHENTICATED, "send a good token: Authorization: Bearer TOKEN")
    return subject


def _slow_down(request: web.Request, limiter: Limiter) -> None:
    if limiter.spent(_address(request), time.monotonic()):
        raise BadInput(Code.RATE_LIMITED, "too many failed attempts from this address: wait a minute")


def _needs(request: web.Request) -> Needs | None:
    resource = request.match_info.route.resource
    path = resource.canonical if resource is not None else request.path
    return request.app[NEEDS].get((request.method, path))


def _address(request: web.Request) -> str:
    return request.remote or "unknown"
