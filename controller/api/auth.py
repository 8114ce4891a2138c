"""Who may call: one local token for now, asked for by everything except health and the OpenAPI document."""

import hmac

from aiohttp import web

from contract.errors import BadInput, Code
from controller.api.errors import Handler

TOKEN = web.AppKey("token", str)
OPEN_PATHS = frozenset({"/v1/health", "/v1/openapi.json", "/v1/enrol", "/v1/renew"})
"""Devices prove who they are by a claim, or by their certificate's key."""


@web.middleware
async def require_token(request: web.Request, handler: Handler) -> web.StreamResponse:
    """BadInput `unauthenticated` unless the bearer token is the controller's."""
    if request.path not in OPEN_PATHS:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), request.app[TOKEN].encode()):
            raise BadInput(Code.UNAUTHENTICATED, "send the controller's token: Authorization: Bearer TOKEN")
    return await handler(request)


def actor_of(request: web.Request) -> str:
    """Who the audit names: the caller's own word until there are identities."""
    return request.headers.get("X-Edgeward-Actor", "local")[:64]
