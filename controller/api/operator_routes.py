"""The API routes for tokens with roles and for the audit. Decides nothing."""

import time
from typing import Annotated, Any

import msgspec
from aiohttp import web

from contract import audit as chain
from contract.wire import Message, decode
from controller.api import views
from controller.api.auth import actor_of
from controller.api.route import Route
from controller.api.state_key import STATE
from controller.trust.access import Role
from controller.trust.tokens import ApiToken
from controller.verbs import tokens


class TokenRequest(Message, frozen=True):
    """A request for a token: the name of its holder, its roles, and the number of days for which it is valid."""

    name: str
    roles: Annotated[tuple[Role, ...], msgspec.Meta(min_length=1)]
    days: Annotated[float, msgspec.Meta(gt=0, le=3650)] = 90.0


async def create_token(request: web.Request) -> views.NewToken:
    """Makes a token. Only this answer contains its secret."""
    asked = decode(await request.read(), TokenRequest)
    kept, token = tokens.create_token(
        request.app[STATE], asked.name, asked.roles, days=asked.days, actor=actor_of(request)
    )
    return views.NewToken(token=token, kept=_shown(kept))


async def list_tokens(request: web.Request) -> list[views.TokenView]:
    """Returns every token, without its secret."""
    return [_shown(kept) for kept in request.app[STATE].tokens.all()]


async def revoke_token(request: web.Request) -> views.TokenView:
    """Revokes a token."""
    return _shown(tokens.revoke_token(request.app[STATE], request.match_info["token"], actor=actor_of(request)))


async def audit(request: web.Request) -> list[dict[str, Any]]:
    """Returns the newest audit entries, newest first."""
    return request.app[STATE].journal.audit_entries()


async def export_audit(request: web.Request) -> views.AuditExport:
    """Returns the whole audit, the checkpoint that devices hold, and the faults that were found in the chain."""
    state = request.app[STATE]
    entries, witness = state.journal.whole_audit(), state.trust_metadata.audit_witness()
    return views.AuditExport(
        entries=entries, witness=witness, faults=chain.faults(entries, [witness] if witness else [])
    )


def _shown(kept: ApiToken) -> views.TokenView:
    return views.TokenView(
        id=kept.id,
        name=kept.name,
        roles=list(kept.roles),
        created_at=kept.created_at,
        expires_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(kept.expires_at)),
        revoked=kept.revoked,
    )


OPERATOR_ROUTES = (
    Route("admin", "GET", "/v1/tokens", list_tokens, "All tokens", list[views.TokenView]),
    Route("admin", "POST", "/v1/tokens", create_token, "Make a token", views.NewToken, TokenRequest),
    Route("admin", "POST", "/v1/tokens/{token}/revoke", revoke_token, "Revoke a token", views.TokenView),
    Route("view", "GET", "/v1/audit", audit, "The newest audit entries", list[dict[str, Any]]),
    Route("view", "GET", "/v1/audit/export", export_audit, "The whole audit", views.AuditExport),
)
