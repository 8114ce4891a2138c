"""The routes of people: tokens with roles, and the audit of what everybody did."""

import time
from typing import Annotated, Any

import msgspec
from aiohttp import web

from contract import audit as chain
from contract.wire import Message, decode
from controller.api import views
from controller.api.auth import actor_of
from controller.api.route import Route
from controller.api.service_key import SERVICE
from controller.service import Service, stamp
from controller.trust.access import Role
from controller.trust.tokens import ApiToken

DAY_S = 86_400.0


class TokenRequest(Message, frozen=True):
    """Whose token, with which roles, for how long."""

    name: str
    roles: Annotated[tuple[Role, ...], msgspec.Meta(min_length=1)]
    days: Annotated[float, msgspec.Meta(gt=0, le=3650)] = 90.0


async def create_token(request: web.Request) -> views.NewToken:
    """A token; it is shown this once."""
    service = request.app[SERVICE]
    asked = decode(await request.read(), TokenRequest)
    expires_at = time.time() + asked.days * DAY_S
    kept, token = service.tokens.create(asked.name, asked.roles, created_at=stamp(), expires_at=expires_at)
    _audit(service, request, "token create", f"{kept.id} {kept.name}", ", ".join(kept.roles))
    return views.NewToken(token=token, kept=_shown(kept))


async def list_tokens(request: web.Request) -> list[views.TokenView]:
    """Every token, without its secret."""
    return [_shown(kept) for kept in request.app[SERVICE].tokens.all()]


async def revoke_token(request: web.Request) -> views.TokenView:
    """End a token."""
    service = request.app[SERVICE]
    ended = service.tokens.revoke(request.match_info["token"])
    _audit(service, request, "token revoke", f"{ended.id} {ended.name}", "")
    return _shown(ended)


async def audit(request: web.Request) -> list[dict[str, Any]]:
    """Newest first."""
    return request.app[SERVICE].journal.audit_entries()


async def export_audit(request: web.Request) -> views.AuditExport:
    """All of it, with the checkpoint that devices hold."""
    service = request.app[SERVICE]
    entries, witness = service.journal.whole_audit(), service.authority.audit_witness()
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


def _audit(service: Service, request: web.Request, action: str, subject: str, detail: str) -> None:
    service.journal.audit(stamp(), actor_of(request), action, subject, detail)


OPERATOR_ROUTES = (
    Route("admin", "GET", "/v1/tokens", list_tokens, "All tokens", list[views.TokenView]),
    Route("admin", "POST", "/v1/tokens", create_token, "Make a token", views.NewToken, TokenRequest),
    Route("admin", "POST", "/v1/tokens/{token}/revoke", revoke_token, "End a token", views.TokenView),
    Route("view", "GET", "/v1/audit", audit, "Who did what", list[dict[str, Any]]),
    Route("view", "GET", "/v1/audit/export", export_audit, "All of the audit", views.AuditExport),
)
