"""The page: files without a secret, with the same `index.html` at every address that a person may keep or send.

Decides which addresses are the page's, and what a browser may load for them: only this controller's own files.
Refuses to make HTML: names that devices chose reach the page as JSON and remain text there.
"""

import gzip
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from aiohttp import web

PAGE_ADDRESSES = (
    "/",
    "/fleet",
    "/rollouts",
    "/rollouts/{rollout}",
    "/models",
    "/models/{model}",
    "/runs",
    "/runs/{run}",
    "/data",
    "/data/{data_set}",
    "/devices/{device}",
    "/alerts",
    "/audit",
)
"""Addresses at which `index.html` is served; filters are in the query."""
MISTYPED_ADDRESS = r"/{address:(?!(?:v1|api|static|metrics)(?:/|$)).+}"
"""Any other address that is not the API's: the page shows a person who mistypes one an error, with a link back."""
STATIC = Path(__file__).with_name("static")
STATIC_PREFIX = "/static"
_KINDS = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
"""Files of other kinds, such as licences, are not served."""
_HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Vary": "Accept-Encoding",
}


@dataclass(frozen=True, slots=True)
class _File:
    """One file as it is sent."""

    kind: str
    plain: bytes
    packed: bytes
    tag: str


def static_paths() -> tuple[str, ...]:
    """The paths of the page's files below `/static`, sorted."""
    return tuple(
        sorted(f"{STATIC_PREFIX}/{each.relative_to(STATIC).as_posix()}" for each in STATIC.rglob("*") if _served(each))
    )


async def page(request: web.Request) -> web.Response:
    """Serves `index.html`."""
    return _answer(request, STATIC / "index.html")


async def no_such_page(request: web.Request) -> web.Response:
    """Serves `index.html` with status 404 to browsers; HTTPNotFound for programs, which read JSON."""
    if "text/html" not in request.headers.get("Accept", ""):
        raise web.HTTPNotFound
    return _answer(request, STATIC / "index.html", status=404)


def static_file(path: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Returns what serves the file at an address of `static_paths`."""
    found = STATIC / path.removeprefix(f"{STATIC_PREFIX}/")

    async def serve(request: web.Request) -> web.Response:
        return _answer(request, found)

    return serve


def _served(path: Path) -> bool:
    return path.is_file() and path.suffix in _KINDS and path.name != "index.html"


def _answer(request: web.Request, path: Path, status: int = 200) -> web.Response:
    """Returns the file, compressed if the browser accepts that; 304 if it has the same one already."""
    found = _load(path, path.stat().st_mtime_ns)
    headers = {**_HEADERS, "ETag": found.tag}
    if status == 200 and request.headers.get("If-None-Match") == found.tag:
        return web.Response(status=304, headers=headers)
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        packed = {**headers, "Content-Encoding": "gzip"}
        return web.Response(body=found.packed, status=status, content_type=found.kind, headers=packed)
    return web.Response(body=found.plain, status=status, content_type=found.kind, charset="utf-8", headers=headers)


@lru_cache(maxsize=64)
def _load(path: Path, _changed_at: int) -> _File:
    plain = path.read_bytes()
    tag = f'"{hashlib.sha256(plain).hexdigest()[:16]}"'
    return _File(_KINDS[path.suffix], plain, gzip.compress(plain, mtime=0), tag)
