"""Blobs over HTTP, with ranges: for devices that reach the API faster than the broker, and for caches in front of it.
Where there is a bucket, callers are sent there.

A caller that knows a digest may fetch the blob, as any device may at the broker; it is verified where it arrives.
"""

from aiohttp import web

from contract.blobs import chunk_list
from contract.errors import BadInput, Code
from contract.names import is_digest
from controller.api.route import Route
from controller.api.state_key import STATE

FOREVER = "public, max-age=31536000, immutable"


async def blob(request: web.Request) -> web.StreamResponse:
    """The bytes of a blob, or `{sha256}.list`: the digests of its chunks."""
    state, name = request.app[STATE], request.match_info["name"]
    digest = name.removesuffix(".list")
    if not is_digest(digest) or not state.blobs.path(digest).exists():
        raise BadInput(Code.UNKNOWN_BLOB, f"no blob {digest[:64]!r}")
    if not name.endswith(".list"):
        if state.bucket is not None and (there := state.bucket.address(digest, state.blobs.path(digest))):
            return web.Response(status=307, headers={"Location": there, "Cache-Control": "no-store"})
        return web.FileResponse(state.blobs.path(digest), headers={"Cache-Control": FOREVER})
    published = state.records.published().get(digest)
    if published is None:
        raise BadInput(Code.UNKNOWN_BLOB, f"no device is to have {digest[:12]} now: how it is cut is not known")
    listed = chunk_list(state.blobs.get(digest), published.chunk_bytes)
    return web.Response(body=listed, headers={"Cache-Control": FOREVER})


BLOB_ROUTES = (Route("nothing", "GET", "/v1/blobs/{name}", blob, "A blob, with ranges", bytes),)
