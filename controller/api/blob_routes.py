"""Blobs over HTTP, with ranges: for devices that reach the API faster than the broker, and for caches in front of it.

Whoever knows a digest may fetch the blob, as any device may at the broker; it is verified where it arrives.
"""

from aiohttp import web

from contract.blobs import Blob, chunk_list
from contract.errors import BadInput, Code
from contract.names import is_digest
from controller.api.route import Route
from controller.api.service_key import SERVICE

FOREVER = "public, max-age=31536000, immutable"


async def blob(request: web.Request) -> web.StreamResponse:
    """The bytes of a blob that some device needs, or `{sha256}.list`: the digests of its chunks."""
    service, name = request.app[SERVICE], request.match_info["name"]
    digest = name.removesuffix(".list")
    known = service.published(digest) if is_digest(digest) else None
    if known is None:
        raise BadInput(Code.UNKNOWN_BLOB, f"no published blob {digest[:64]!r}")
    if name.endswith(".list"):
        return web.Response(body=_list_of(known, service.blobs.get(digest)), headers={"Cache-Control": FOREVER})
    return web.FileResponse(service.blobs.path(digest), headers={"Cache-Control": FOREVER})


def _list_of(known: Blob, data: bytes) -> bytes:
    return chunk_list(data, known.chunk_bytes)


BLOB_ROUTES = (Route("nothing", "GET", "/v1/blobs/{name}", blob, "A published blob, with ranges", bytes),)
