"""Sign-in of people with a provider: each gets their own token that ends with their session.

Decides what a configuration must contain before anybody can sign in, and what the audit records. Refuses to know HTTP,
and how a provider is asked.
"""

import importlib.util
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from contract.errors import BadInput, Code
from controller.clock import stamp
from controller.config import OidcConfig
from controller.signin.grants import grant_of, name_of
from controller.signin.provider import Provider, check_address
from controller.state import State
from controller.trust.scope import Scope
from controller.trust.tokens import ApiToken
from controller.verbs.tokens import check_holder, check_scope

MAX_SECRET_BYTES = 4096


def open_provider(config: OidcConfig) -> Provider | None:
    """Returns the provider of the configuration; None if there is none. BadInput `config_invalid` says
    what is missing.
    """
    if not config.issuer:
        return None
    if importlib.util.find_spec("joserfc") is None:
        raise BadInput(Code.CONFIG_INVALID, "[oidc] needs a package: pip install 'edgeward[oidc]'")
    check_address(config.issuer, "issuer")
    if not config.client_id or not config.grant:
        missing = "client_id" if not config.client_id else "grant: nobody could sign in"
        raise BadInput(Code.CONFIG_INVALID, f"[oidc] has an issuer and no {missing}")
    for grant in config.grant:
        try:
            check_scope(Scope(labels=grant.labels, models=grant.models), grant.roles)
        except BadInput as error:
            raise BadInput(Code.CONFIG_INVALID, f"[oidc] grant of {grant.value!r}: {error.detail}") from None
    return Provider(config, _secret(config), time.time)


def sign_in(state: State, claims: Mapping[str, Any]) -> ApiToken:
    """Makes the token of a person whom the provider has identified. BadInput `sign_in_refused` if no grant fits."""
    config, now, at = state.config.oidc, time.time(), stamp()
    grant, name = grant_of(config.grant, claims), name_of(claims, config.name_claim)
    check_holder(name)
    scope = Scope(labels=grant.labels, models=grant.models)
    state.tokens.forget_sign_ins(now)
    kept, _ = state.tokens.create(
        name, grant.roles, created_at=at, expires_at=now + config.session_h * 3600.0, scope=scope, signed_in=True
    )
    limits = f"; only for {scope.words}" if scope.limits else ""
    words = f"{', '.join(kept.roles)}{limits}; {config.name} {str(claims['sub'])[:100]}"
    state.journal.audit(at, name, "sign in", f"{kept.id} {name}", words)
    return kept


def sign_out(state: State, identifier: str) -> None:
    """Ends the token of a sign-in with its session; any other token stays valid."""
    if any(each.id == identifier and each.signed_in for each in state.tokens.all()):
        state.tokens.revoke(identifier)


def _secret(config: OidcConfig) -> str:
    if not config.client_secret_file:
        return ""
    path = Path(config.client_secret_file).expanduser()
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(MAX_SECRET_BYTES).strip()
    except (OSError, UnicodeDecodeError) as error:
        words = f"oidc.client_secret_file: {path}: {getattr(error, 'strerror', error)}"
        raise BadInput(Code.CONFIG_INVALID, words) from None
