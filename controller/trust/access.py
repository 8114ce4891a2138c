"""Roles, and the permissions of each role. A permission that is not listed here is not given.

An administrator makes tokens, but can neither start nor approve a rollout. No person approves a rollout that they
started.
"""

from dataclasses import dataclass
from typing import Literal, get_args

from controller.trust.scope import EVERYWHERE, Scope

Permission = Literal["view", "push", "rollout", "approve", "device", "admin"]
Role = Literal["viewer", "operator", "approver", "admin"]
ALL_ROLES: tuple[Role, ...] = get_args(Role)

PERMISSIONS: dict[Role, frozenset[Permission]] = {
    "viewer": frozenset({"view"}),
    "operator": frozenset({"view", "push", "rollout", "device"}),
    "approver": frozenset({"view", "approve"}),
    "admin": frozenset({"view", "device", "admin"}),
}


@dataclass(frozen=True, slots=True)
class Subject:
    """The authenticated caller of a request."""

    name: str
    roles: frozenset[Role]
    local: bool = False
    """True: the caller used the token in the controller's data directory. It has all roles, but no right to approve."""
    scope: Scope = EVERYWHERE
    """The part of the fleet on which the caller may act."""

    def may(self, permission: Permission) -> bool:
        """Tells whether one of the caller's roles has the permission."""
        return any(permission in PERMISSIONS[role] for role in self.roles)
