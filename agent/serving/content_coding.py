"""Compressed bodies, gzip and deflate, of requests and responses, each within a limit.

Decides which codings are accepted and when a response is worth compressing. Refuses to know what a body contains.
Source: RFC 9110, 8.4.1 and 12.5.3.
"""

import zlib

from agent.serving.oip_messages import Refused, Response

TAKEN = ("gzip", "x-gzip", "deflate")
HEADER = "Accept-Encoding: gzip, deflate"
MIN_PACKED_BYTES = 16 * 1024
"""A smaller response is not compressed: that takes 10 us for each KiB, and most clients are on this device."""
LEVEL = 1
"""Numbers as text shrink to 38 to 47 % at level 1, and to 30 to 44 % at level 6, which takes seven times as long."""
_GZIP, _ZLIB, _RAW = 31, 15, -15
"""Window bits, by which zlib recognises the format."""


def takes_coding(name: bytes) -> bool:
    """Whether a body of this coding can be decompressed."""
    return name.decode("latin-1").strip().lower() in TAKEN


def unpacked(body: bytes, coding: bytes, max_bytes: int) -> bytes:
    """Returns the decompressed body. `Refused` 413 for more than `max_bytes`, 400 for a damaged body."""
    name, parts, size, rest = coding.decode("latin-1").strip().lower(), list[bytes](), 0, body
    while rest or not parts:
        unpacker = zlib.decompressobj(_GZIP if name != "deflate" else _deflate_bits(rest))
        try:
            part = unpacker.decompress(rest, max_bytes - size + 1)
        except zlib.error as error:
            raise Refused(400, f"content-encoding {name}: {error}"[:200]) from None
        parts.append(part)
        size += len(part)
        if size > max_bytes:
            raise Refused(413, f"the body unpacks to more than {max_bytes} bytes (serving.max_body_bytes)")
        if not unpacker.eof:
            raise Refused(400, f"content-encoding {name}: the body ends too early")
        rest = unpacker.unused_data  # gzip: members may follow one another
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _deflate_bits(body: bytes) -> int:
    """Distinguishes zlib's format, which the RFC means, from bare deflate, which some clients send."""
    head = body[:2]
    return _ZLIB if len(head) == 2 and head[0] & 15 == 8 and int.from_bytes(head, "big") % 31 == 0 else _RAW


def coding_for(response: Response, accept: bytes) -> str:
    """Returns the coding of the response: "gzip", "deflate", or "" for none."""
    if not accept or len(response.body) < MIN_PACKED_BYTES:
        return ""
    weights = dict(_weighted(each) for each in accept.decode("latin-1").lower().split(","))
    gzip, deflate = (weights.get(name, weights.get("*", 0.0)) for name in ("gzip", "deflate"))
    if max(gzip, deflate) <= 0.0:
        return ""
    return "gzip" if gzip >= deflate else "deflate"


def packed(response: Response, coding: str) -> Response:
    """Returns the compressed response, with its Content-Encoding header."""
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, _GZIP if coding == "gzip" else _ZLIB)
    body = packer.compress(response.body) + packer.flush()
    headers = (*response.headers, f"Content-Encoding: {coding}", "Vary: Accept-Encoding")
    return Response(response.status, body, response.content_type, response.json_length, headers)


def _weighted(part: str) -> tuple[str, float]:
    name, _, parameters = part.partition(";")
    key, _, value = parameters.strip().partition("=")
    try:
        return name.strip(), float(value) if key.strip() == "q" else 1.0
    except ValueError:
        return name.strip(), 0.0
