"""API tokens: made once, shown once, stored as hashes, with roles and an end.

Decides which token is valid now. Refuses to know what roles may do.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterable

import msgspec

from contract.errors import BadInput, Code
from contract.kept import convert_kept
from contract.names import check_name
from contract.wire import Message
from controller.registry.store import Store
from controller.trust.access import Role, Subject
from controller.trust.scope import EVERYWHERE, Scope

_TABLE = "tokens"


class ApiToken(Message, frozen=True):
    """The record of a token."""

    id: str
    name: str
    roles: tuple[Role, ...]
    sha256: str
    created_at: str
    expires_at: float
    revoked: bool = False
    scope: Scope = EVERYWHERE
    signed_in: bool = False
    """Whether a provider has identified its holder: then it ends with the session, and is never shown to a person."""


class Tokens:
    """The tokens, in a Store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def create(
        self,
        name: str,
        roles: Iterable[Role],
        *,
        created_at: str,
        expires_at: float,
        scope: Scope = EVERYWHERE,
        signed_in: bool = False,
    ) -> tuple[ApiToken, str]:
        """Returns (the record, the token itself, which is not shown again). BadInput `name_invalid`."""
        check_name(name, "token")
        identifier, secret = secrets.token_hex(4), secrets.token_urlsafe(32)
        token = f"edg_{identifier}_{secret}"
        kept = ApiToken(
            id=identifier,
            name=name,
            roles=tuple(sorted(set(roles))),
            sha256=_hash(token),
            created_at=created_at,
            expires_at=expires_at,
            scope=scope,
            signed_in=signed_in,
        )
        self._store.put(_TABLE, {identifier: msgspec.to_builtins(kept)})
        return kept, token

    def valid(self, token: str, now: float) -> tuple[str, Subject, float] | None:
        """Returns (id, holder, end in seconds since 1970) of a token; None for a wrong, revoked or expired one."""
        kept = self._kept(token[4:12]) if token.startswith("edg_") else None
        if kept is None or not hmac.compare_digest(kept.sha256, _hash(token)) or not _is_good(kept, now):
            return None
        return kept.id, _holder_of(kept), kept.expires_at

    def holder(self, identifier: str, now: float) -> tuple[Subject, float] | None:
        """Returns (holder, end in seconds since 1970) of the token with this id; None once it is revoked or expired."""
        kept = self._kept(identifier)
        return (_holder_of(kept), kept.expires_at) if kept is not None and _is_good(kept, now) else None

    def all(self) -> list[ApiToken]:
        """Every token that was ever made."""
        return [convert_kept(doc, ApiToken) for doc in self._store.all(_TABLE).values()]

    def forget_sign_ins(self, now: float) -> None:
        """Deletes tokens of ended sign-ins: the audit has them, and there is one for each day and person."""
        for kept in self.all():
            if kept.signed_in and not _is_good(kept, now):
                self._store.delete(_TABLE, kept.id)

    def _kept(self, identifier: str) -> ApiToken | None:
        doc = self._store.get(_TABLE, identifier)
        return convert_kept(doc, ApiToken) if doc is not None else None

    def revoke(self, identifier: str) -> ApiToken:
        """Ends a token; BadInput `unknown_token`."""
        doc = self._store.get(_TABLE, identifier)
        if doc is None:
            raise BadInput(Code.UNKNOWN_TOKEN, f"no token {identifier[:20]!r}; `edgeward token list` shows all")
        ended = msgspec.structs.replace(convert_kept(doc, ApiToken), revoked=True)
        self._store.put(_TABLE, {identifier: {**doc, **msgspec.to_builtins(ended)}})
        return ended


def _is_good(kept: ApiToken, now: float) -> bool:
    return not kept.revoked and now < kept.expires_at


def _holder_of(kept: ApiToken) -> Subject:
    return Subject(kept.name, frozenset(kept.roles), scope=kept.scope)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
