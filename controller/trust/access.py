"""Roles, and the permissions that each one has. A permission that is not written here is not given.

An administrator hands out keys and can neither start nor approve a rollout; nobody approves a rollout of their own.
"""

from dataclasses import dataclass
from typing import Literal, get_args

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
    """A caller whose identity is proved."""

    name: str
    roles: frozenset[Role]
    local: bool = False
    """By the token in the controller's own directory: all roles, but no second pair of eyes."""

    def may(self, permission: Permission) -> bool:
        """Whether one of the roles has the permission."""
        return any(permission in PERMISSIONS[role] for role in self.roles)
