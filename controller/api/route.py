"""One entry of the route table: method, path, permission, request and answer."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from controller.api.auth import Needs, Proof
from controller.api.body import MAX_BODY_BYTES

Endpoint = Callable[[web.Request], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Route:
    """One entry of the table."""

    needs: Needs
    method: str
    path: str
    handler: Endpoint
    summary: str
    returns: Any
    takes: Any = None
    multipart: bool = False
    max_body_bytes: int = MAX_BODY_BYTES
    """The largest body in bytes; 0: the route reads its own body, within its own limits."""
    proof: Proof = "token"
    """The kind of proof under which a failed attempt is counted."""
