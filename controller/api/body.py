"""Bodies of requests: how large and how slow they may be, by route; and pushes, which are written to disk.

Decides what is refused before it is read: no body is read from callers without permission. Refuses to know what is
in a body.
"""

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from aiohttp import BodyPartReader, web

from contract.errors import BadInput, Code, WorldError
from contract.model_size import refuse_large
from contract.protocol import MAX_MESSAGE_BYTES, MAX_MODEL_BYTES, MAX_TENSORS_BYTES
from controller.api.errors import Handler
from controller.health import FREE_BYTES_WANTED

MAX_BODY_BYTES = MAX_MESSAGE_BYTES
"""The limit of a route that does not name another: the largest JSON message that is decoded."""
MAX_PUSH_REQUEST_BYTES = 64 * 1024
BODY_S = 30.0
"""Seconds for a body that is read into memory, and for a push before its rate is judged."""
SLOWEST_BYTES_S = 32 * 1024
"""A push that arrives more slowly than this on average is ended: 1 GiB may take nine hours."""
MAX_PUSHES = 4
"""The most pushes at a time, counting those being received and those that wait for conversion: at most 4.3 GB of disk,
and what the running conversion writes. A further push is refused as `busy`. No other limit bounds the number."""
RESERVE_BYTES = FREE_BYTES_WANTED
"""Free space that no push may use: the store, the audit and the journal need it, and health checks it."""
LOOK_EVERY_BYTES = 16 * 1024**2
"""Bytes of a push between two checks of the free space, because other programs write to the disk at the same time."""
T = TypeVar("T")
PIECE_BYTES = 256 * 1024
WRITE_BYTES = 4 * 1024**2
"""Bytes of a push that are written at once, in a thread: a thread for each piece doubles the time of receiving it."""
LOOK_S = 0.2
"""Seconds between two checks whether the caller still waits for the answer to a push."""
_LIMITS = {
    "request": MAX_PUSH_REQUEST_BYTES, "model": MAX_MODEL_BYTES, "sample": MAX_TENSORS_BYTES,
    "held_out": MAX_TENSORS_BYTES,
}  # fmt: skip
_REQUIRED = frozenset({"request", "model", "sample"})
BODY_LIMITS = web.AppKey("body_limits", dict[tuple[str, str], int])
"""Bytes by method and path; 0: the route reads its own body."""


@dataclass(frozen=True, slots=True)
class Received:
    """A push whose parts are on disk, apart from the request."""

    request: bytes
    model: Path
    sample: Path
    held_out: Path | None
    """Held-out rows, if some were sent."""


@web.middleware
async def read_body(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Reads the body within the route's limit and BODY_S. BadInput `message_too_large`, `request_slow`."""
    resource = request.match_info.route.resource
    path = resource.canonical if resource is not None else request.path
    limit = request.app[BODY_LIMITS].get((request.method, path), MAX_BODY_BYTES)
    if not request.body_exists or limit == 0:
        return await handler(request)
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise BadInput(Code.REQUEST_INVALID, "Content-Encoding: send the body as it is")
    if (request.content_length or 0) > limit:
        raise BadInput(Code.MESSAGE_TOO_LARGE, f"body of {request.content_length} bytes, limit {limit}")
    await _invite(request)
    bounded = request.clone(client_max_size=limit)
    bounded.update(request)
    try:
        async with asyncio.timeout(BODY_S):
            await bounded.read()
    except TimeoutError:
        raise BadInput(Code.REQUEST_SLOW, f"the body was not whole after {BODY_S:g} s") from None
    return await handler(bounded)


async def let_wait(_: web.Request) -> None:
    """Does not answer `Expect: 100-continue` yet: a caller without permission is not asked for a body."""


class Pushes:
    """Pushes in progress, in a directory that is emptied first: a killed controller leaves files there."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._under_way = 0
        shutil.rmtree(directory, ignore_errors=True)

    @asynccontextmanager
    async def received(
        self, request: web.Request, came: Callable[[int], None] = lambda _: None
    ) -> AsyncIterator[Received]:
        """Yields the parts of a push, which exist until the block ends. `came` is called with the number of
        received bytes.

        Raises, before the body is read: WorldError `busy` if too many run, `disk_full` if less than RESERVE_BYTES would
        remain. Then BadInput `message_too_large`, `request_slow`, `request_invalid`, `sample_missing`.
        """
        if self._under_way >= MAX_PUSHES:
            raise WorldError(Code.BUSY, f"{MAX_PUSHES} pushes are under way: push again in a minute")
        if not request.content_type.startswith("multipart/"):
            raise BadInput(
                Code.REQUEST_INVALID, "expected multipart/form-data with the parts request, model and sample"
            )
        most = sum(_LIMITS.values()) + PIECE_BYTES
        if (request.content_length or 0) > most:
            refuse_large(request.content_length or 0, "this push")
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_room(self._directory, request.content_length or 0)
        self._under_way += 1
        try:
            with tempfile.TemporaryDirectory(dir=self._directory) as scratch:
                await _invite(request)
                yield await _receive(request, Path(scratch), came)
        finally:
            self._under_way -= 1


PUSHES = web.AppKey("pushes", Pushes)


async def while_connected(request: web.Request, work: Coroutine[Any, Any, T]) -> T:
    """Awaits `work`, and cancels it once the caller has disconnected: then raises CancelledError, which is not sent
    to any caller.
    """
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=LOOK_S)
            if request.transport is None or request.transport.is_closing():
                task.cancel()
        return await task
    finally:
        task.cancel()


async def _receive(request: web.Request, scratch: Path, tell: Callable[[int], None]) -> Received:
    began = time.monotonic()
    came: set[str] = set()
    try:
        async with asyncio.timeout(BODY_S) as deadline:
            received = looked_at = 0
            async for part in await request.multipart():
                name = part.name if isinstance(part, BodyPartReader) else None
                if not isinstance(part, BodyPartReader) or name not in _LIMITS or name in came:
                    raise BadInput(
                        Code.REQUEST_INVALID,
                        f"part {str(name)[:64]!r}: expected request, model, sample and held_out, each once",
                    )
                came.add(name)
                with (scratch / name).open("wb") as file:
                    async for size_bytes in _pieces(part, file, name):
                        received += size_bytes
                        tell(received)
                        if received - looked_at >= LOOK_EVERY_BYTES:
                            looked_at = received
                            _check_room(scratch, 0)
                        allowed_s = BODY_S + received / SLOWEST_BYTES_S
                        deadline.reschedule(asyncio.get_running_loop().time() + began + allowed_s - time.monotonic())
    except TimeoutError:
        raise BadInput(Code.REQUEST_SLOW, f"the push comes more slowly than {SLOWEST_BYTES_S} bytes a second") from None
    except OSError as error:
        raise WorldError(Code.DISK_FULL, f"a push could not be written: {error.strerror}") from error
    if missing := sorted(_REQUIRED - came):
        code = Code.SAMPLE_MISSING if missing == ["sample"] else Code.REQUEST_INVALID
        raise BadInput(code, f"missing parts: {', '.join(missing)}")
    held_out = scratch / "held_out" if "held_out" in came else None
    return Received((scratch / "request").read_bytes(), scratch / "model", scratch / "sample", held_out)


async def _pieces(part: BodyPartReader, file: BinaryIO, name: str) -> AsyncIterator[int]:
    """Writes a part to `file`; yields the size of each piece."""
    size_bytes = waiting_bytes = 0
    waiting: list[bytes] = []
    while piece := await part.read_chunk(PIECE_BYTES):
        size_bytes += len(piece)
        waiting_bytes += len(piece)
        if size_bytes > _LIMITS[name]:
            if name == "model":
                refuse_large(size_bytes, "what has come of the model")
            raise BadInput(Code.MESSAGE_TOO_LARGE, f"part {name}: more than {_LIMITS[name]} bytes")
        waiting.append(piece)
        if waiting_bytes >= WRITE_BYTES:
            await asyncio.to_thread(file.writelines, waiting)
            waiting, waiting_bytes = [], 0
        yield len(piece)
    await asyncio.to_thread(file.writelines, waiting)


def _check_room(directory: Path, size_bytes: int) -> None:
    """Raises WorldError `disk_full` unless RESERVE_BYTES remain free after so many bytes."""
    free = shutil.disk_usage(directory).free
    if free < size_bytes + RESERVE_BYTES:
        free_mb, wanted_mb = free // 10**6, (size_bytes + RESERVE_BYTES) // 10**6
        raise WorldError(
            Code.DISK_FULL,
            f"{free_mb} MB are free on the controller, {wanted_mb} MB are needed for this push and what must stay free",
        )


async def _invite(request: web.Request) -> None:
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0
