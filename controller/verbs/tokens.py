"""What an administrator can do with API tokens: make one, or end one.

Decides nothing about what a token may do: `trust.access` does.
"""

import time
from collections.abc import Iterable

from contract.errors import BadInput, Code
from controller.clock import stamp
from controller.state import State
from controller.trust.access import Role
from controller.trust.tokens import ApiToken
from controller.verbs.audit import CONTROLLER

DAY_S = 86_400.0


def create_token(state: State, name: str, roles: Iterable[Role], *, days: float, actor: str) -> tuple[ApiToken, str]:
    """Returns what is kept, and the token itself, which is never shown again. BadInput `name_invalid`."""
    if name == CONTROLLER:
        raise BadInput(Code.NAME_INVALID, f"{name!r} is the name of what nobody has asked for: choose another one")
    at, expires_at = stamp(), time.time() + days * DAY_S
    kept, token = state.tokens.create(name, roles, created_at=at, expires_at=expires_at)
    state.journal.audit(at, actor, "token create", f"{kept.id} {kept.name}", ", ".join(kept.roles))
    return kept, token


def revoke_token(state: State, identifier: str, *, actor: str) -> ApiToken:
    """Ends a token. BadInput `unknown_token`."""
    ended = state.tokens.revoke(identifier)
    state.journal.audit(stamp(), actor, "token revoke", f"{ended.id} {ended.name}")
    return ended
