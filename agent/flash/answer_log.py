"""An ordered log of answers, in segments on flash, which the agent reads after a restart.

Decides the order of frames, when a segment is full, and that the oldest segment is deleted first. A frame that is
cut or damaged ends its segment. Nothing is synced: data in the kernel is kept when the process ends, and a power
cut may lose the newest half minute. Refuses to know what a frame holds.
"""

import re
import struct
import zlib
from collections.abc import Iterator

from agent.flash.atomic_file import medium
from agent.ports import Disk

SEGMENTS = 8
"""Segments of a full log: the oldest eighth is deleted at once."""
MAX_SEGMENTS = 64
"""The most segments: each start of the agent begins one with its first answer."""
MAX_FRAME_BYTES = 1024 * 1024
_HEAD = struct.Struct("<II")
"""Bytes of the content, and their CRC-32."""


class AnswerLog:
    """The log of one model, at most `max_bytes` on flash. The first frame after a start begins a new segment."""

    def __init__(self, disk: Disk, model: str, max_bytes: int) -> None:
        self._disk = disk
        self._model = model
        self._max_bytes = max_bytes
        pattern = re.compile(rf"{re.escape(model)}\.([0-9]{{1,12}})\.answers\Z")
        found = {int(known[1]): name for name in disk.names() if (known := pattern.match(name)) is not None}
        self._sizes = {number: disk.size_bytes(name) for number, name in sorted(found.items())}
        """The bytes of each segment, oldest first."""
        self._newest: int | None = None

    @property
    def size_bytes(self) -> int:
        """The bytes of all segments."""
        return sum(self._sizes.values())

    @property
    def is_at_start(self) -> bool:
        """Whether the next frame begins a segment: it must hold all facts that later frames need."""
        return self._newest is None or self._sizes[self._newest] >= self._max_bytes // SEGMENTS

    def append(self, content: bytes) -> None:
        """Adds a frame. WorldError `disk_full` or `disk_failed`: the frame is lost, and a new segment begins."""
        if len(content) > MAX_FRAME_BYTES:
            return
        if self.is_at_start:
            self._newest = max(self._sizes, default=0) + 1
            self._sizes[self._newest] = 0
        newest, frame = self._newest, _HEAD.pack(len(content), zlib.crc32(content)) + content
        assert newest is not None
        self._make_room(len(frame))
        try:
            with medium():
                self._disk.write_at(self._name(newest), self._sizes[newest], frame)
        except Exception:
            self._newest = None  # the file may end with half a frame
            raise
        self._sizes[newest] += len(frame)

    def frames(self) -> Iterator[bytes]:
        """Yields the content of all whole frames, oldest first. A segment that cannot be read is skipped."""
        for number in list(self._sizes):
            try:
                raw = self._disk.read(self._name(number))
            except OSError:
                continue
            yield from _frames(raw)

    def _make_room(self, size_bytes: int) -> None:
        while len(self._sizes) > 1 and (
            self.size_bytes + size_bytes > self._max_bytes or len(self._sizes) > MAX_SEGMENTS
        ):
            oldest = next(iter(self._sizes))
            del self._sizes[oldest]
            with medium():
                self._disk.delete(self._name(oldest))

    def _name(self, number: int) -> str:
        return f"{self._model}.{number}.answers"


def _frames(raw: bytes) -> Iterator[bytes]:
    at = 0
    while at + _HEAD.size <= len(raw):
        size_bytes, checksum = _HEAD.unpack_from(raw, at)
        content = raw[at + _HEAD.size : at + _HEAD.size + size_bytes]
        if size_bytes > MAX_FRAME_BYTES or len(content) < size_bytes or zlib.crc32(content) != checksum:
            return
        yield content
        at += _HEAD.size + size_bytes
