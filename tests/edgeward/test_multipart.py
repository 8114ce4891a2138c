"""The body of a push is read in pieces, has the size that it names, and aiohttp can parse it."""

import asyncio

from aiohttp import MultipartReader, StreamReader
from aiohttp.base_protocol import BaseProtocol

from edgeward.multipart import Multipart

PARTS = {"request": ("request.json", b"{}", "application/json"), "model": ("model", b"\r\n--x" * 9, "a/b")}


def test_a_body_is_read_in_pieces_and_read_again_from_its_beginning() -> None:
    body = Multipart(PARTS)
    pieces = list(iter(lambda: body.read(7), b""))
    assert max(map(len, pieces)) == 7
    assert body.tell() == body.size_bytes == sum(map(len, pieces))
    body.seek(0)
    assert b"".join(iter(lambda: body.read(1000), b"")) == b"".join(pieces)


def test_aiohttp_reads_the_original_parts_of_the_body() -> None:
    async def parts() -> dict[str, bytes]:
        body = Multipart(PARTS)
        stream = StreamReader(BaseProtocol(asyncio.get_running_loop()), 2**16)
        stream.feed_data(body.read(10**6) + b"".join(iter(lambda: body.read(10**6), b"")))
        stream.feed_eof()
        found = {}
        async for part in MultipartReader({"Content-Type": body.content_type}, stream):
            found[part.name] = bytes(await part.read())
        return found

    assert asyncio.run(parts()) == {name: content for name, (_, content, _) in PARTS.items()}
