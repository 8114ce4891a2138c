"""What an administrator can do with API tokens: make one, or end one.

Decides nothing about what a token may do: `trust.access` does.
"""

import time
from collections.abc import Iterable

from contract.errors import BadInput, Code
from contract.names import check_name
from controller.clock import stamp
from controller.state import State
from controller.trust.access import Role
from controller.trust.scope import EVERYWHERE, MAX_SCOPED_LABELS, MAX_SCOPED_MODELS, Scope
from controller.trust.tokens import ApiToken
from controller.verbs.audit import CONTROLLER
from controller.verbs.device_labels import check_label

DAY_S = 86_400.0
SCOPED_ROLES: frozenset[Role] = frozenset({"operator", "approver"})


def create_token(
    state: State, name: str, roles: Iterable[Role], *, days: float, actor: str, scope: Scope = EVERYWHERE
) -> tuple[ApiToken, str]:
    """Returns the record, and the token itself, which is never shown again.

    BadInput `name_invalid`, `request_invalid` for a scope that would limit nothing or has invalid labels or names.
    """
    roles = tuple(roles)
    check_holder(name)
    check_scope(scope, roles)
    at, expires_at = stamp(), time.time() + days * DAY_S
    kept, token = state.tokens.create(name, roles, created_at=at, expires_at=expires_at, scope=scope)
    limits = f"; only for {scope.words}" if scope.limits else ""
    state.journal.audit(at, actor, "token create", f"{kept.id} {kept.name}", ", ".join(kept.roles) + limits)
    return kept, token


def check_holder(name: str) -> None:
    """Raises BadInput `name_invalid` for the controller's own name in the audit."""
    if name == CONTROLLER:
        raise BadInput(Code.NAME_INVALID, f"{name!r} is the name of what nobody has asked for: choose another one")


def check_scope(scope: Scope, roles: Iterable[Role]) -> None:
    """Raises BadInput `request_invalid` for a scope with roles that it cannot limit, or with invalid labels and names.

    An administrator makes tokens, including those without a scope; a viewer changes nothing that could be limited.
    """
    if not scope.limits:
        return
    if not set(roles) & SCOPED_ROLES or "admin" in roles:
        words = "a scope limits what operators and approvers do: a viewer does nothing, and an admin makes tokens"
        raise BadInput(Code.REQUEST_INVALID, words)
    if len(scope.labels) > MAX_SCOPED_LABELS or len(scope.models) > MAX_SCOPED_MODELS:
        words = f"a scope has at most {MAX_SCOPED_LABELS} labels and {MAX_SCOPED_MODELS} models"
        raise BadInput(Code.REQUEST_INVALID, words)
    for key, value in scope.labels.items():
        check_label(key, value)
    for name in scope.models:
        check_name(name, "model")


def revoke_token(state: State, identifier: str, *, actor: str) -> ApiToken:
    """Ends a token. BadInput `unknown_token`."""
    ended = state.tokens.revoke(identifier)
    state.journal.audit(stamp(), actor, "token revoke", f"{ended.id} {ended.name}")
    return ended
