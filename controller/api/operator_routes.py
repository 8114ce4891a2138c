"""The routes of operators: tokens with roles."""

from typing import Annotated

import msgspec
from aiohttp import web

from contract.wire import Message, decode
from controller.api import operator_views as views
from controller.api.auth import actor_of
from controller.api.route import Route
from controller.api.state_key import STATE
from controller.clock import stamp_of
from controller.trust.access import Role
from controller.trust.scope import EVERYWHERE, Scope
from controller.trust.tokens import ApiToken
from controller.verbs import tokens


class TokenRequest(Message, frozen=True):
    """A request for a token: the name of its holder, its roles, and the number of days for which it is valid."""

    name: str
    roles: Annotated[tuple[Role, ...], msgspec.Meta(min_length=1)]
    days: Annotated[float, msgspec.Meta(gt=0, le=3650)] = 90.0
    scope: Scope = EVERYWHERE
    """The part of the fleet on which its holder may act."""


async def create_token(request: web.Request) -> views.NewToken:
    """Makes a token. Only this answer contains its secret."""
    asked = decode(await request.read(), TokenRequest)
    kept, token = tokens.create_token(
        request.app[STATE], asked.name, asked.roles, days=asked.days, actor=actor_of(request), scope=asked.scope
    )
    return views.NewToken(token=token, kept=_shown(kept))


async def list_tokens(request: web.Request) -> list[views.TokenView]:
    """Returns every token, without its secret."""
    return [_shown(kept) for kept in request.app[STATE].tokens.all()]


async def revoke_token(request: web.Request) -> views.TokenView:
    """Revokes a token."""
    return _shown(tokens.revoke_token(request.app[STATE], request.match_info["token"], actor=actor_of(request)))


def _shown(kept: ApiToken) -> views.TokenView:
    return views.TokenView(
        id=kept.id,
        name=kept.name,
        roles=list(kept.roles),
        created_at=kept.created_at,
        expires_at=stamp_of(kept.expires_at),
        revoked=kept.revoked,
        scope=kept.scope,
    )


OPERATOR_ROUTES = (
    Route("admin", "GET", "/v1/tokens", list_tokens, "All tokens", list[views.TokenView]),
    Route("admin", "POST", "/v1/tokens", create_token, "Make a token", views.NewToken, TokenRequest),
    Route("admin", "POST", "/v1/tokens/{token}/revoke", revoke_token, "End a token", views.TokenView),
)
