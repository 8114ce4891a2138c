"""One entry of the route table: method, path, who may call, what goes in, what comes out."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from controller.api.auth import Needs

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
