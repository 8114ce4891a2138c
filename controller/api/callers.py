"""Refuses requests that a web page makes a browser send, before any other check.

Decides which host names belong to this controller. A page on the web can point its own name at this machine (DNS
rebinding) and read what needs no token, but it cannot choose the `Host` header. A client without this header is not
a browser. Refuses to know tokens.
"""

from urllib.parse import urlsplit

from aiohttp import web

from contract.errors import BadInput, Code
from contract.http_callers import is_host_served, may_post
from controller.api.auth import API, SAFE_METHODS
from controller.api.errors import Handler
from controller.config import ApiConfig

MAX_SHOWN_CHARS = 80


@web.middleware
async def check_caller(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answers requests for this controller alone. BadInput `host_unknown` for another name, `forbidden` for what a page
    of another site would change.
    """
    api, host, origin = request.app[API], request.headers.get("Host"), request.headers.get("Origin")
    if host is not None and not is_host_served(host, names_of(api)):
        raise BadInput(Code.HOST_UNKNOWN, f"host {host[:MAX_SHOWN_CHARS]!r} is not served here: name it in api.names")
    if origin and request.method not in SAFE_METHODS and not may_post(origin, host or "", _origins(api)):
        raise BadInput(Code.FORBIDDEN, f"pages of {origin[:MAX_SHOWN_CHARS]!r} may change nothing here")
    return await handler(request)


def names_of(api: ApiConfig) -> tuple[str, ...]:
    """The host names of the API in lower case."""
    public = urlsplit(api.public_url).hostname or ""
    return tuple(name.lower() for name in (*api.names, api.host, public) if name)


def _origins(api: ApiConfig) -> tuple[str, ...]:
    """The page's own origin if a proxy calls this server by another name."""
    parts = urlsplit(api.public_url)
    return (f"{parts.scheme}://{parts.netloc}".lower(),) if parts.netloc else ()
