"""Blobs over HTTP, with ranges, for devices that reach the API faster than the broker, and for caches.
With a bucket, callers are redirected to it.

A caller that knows a digest may fetch the blob, as any device may at the broker. The device verifies what it receives.
"""

import asyncio

from aiohttp import web

from contract.blobs import chunk_list_of
from contract.errors import BadInput, Code
from contract.names import is_digest
from controller.api.route import Route
from controller.api.state_key import STATE
from controller.registry.blobs import BlobStore

FOREVER = "public, max-age=31536000, immutable"


async def blob(request: web.Request) -> web.StreamResponse:
    """Returns the bytes of a blob. For `{sha256}.list` it returns the digests of the blob's chunks."""
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
        raise BadInput(Code.UNKNOWN_BLOB, f"no device needs {digest[:12]} now, so the size of its chunks is not known")
    listed = await asyncio.to_thread(_chunk_list, state.blobs, digest, published.chunk_bytes)
    return web.Response(body=listed, headers={"Cache-Control": FOREVER})


def _chunk_list(blobs: BlobStore, digest: str, chunk_bytes: int) -> bytes:
    with blobs.opened(digest) as file:
        return chunk_list_of(file, chunk_bytes)


BLOB_ROUTES = (Route("nothing", "GET", "/v1/blobs/{name}", blob, "A blob, with ranges", bytes),)
