"""The fleet's page: three files without a secret. Its content comes from `/v1/fleet`, with the reader's token.

Refuses to make HTML: names that devices chose reach the page as data and remain text there.
"""

from pathlib import Path

from aiohttp import web

PAGE_FILES = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}
_STATIC = Path(__file__).with_name("static")
_HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


async def page(request: web.Request) -> web.Response:
    """Serves one of the page's three files."""
    name, kind = PAGE_FILES[request.path]
    text = (_STATIC / name).read_text(encoding="utf-8")
    return web.Response(text=text, content_type=kind, headers=_HEADERS)
