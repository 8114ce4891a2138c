"""Rows that other programs append to a file, as soon as they are appended: CSV with a line of names, or one JSON
object per line.

Decides which lines are complete, the format of the rows, and when a file was rotated (renamed and created again) or
cut. Refuses to know which model answers. A renamed file is read to its end before the new one.
"""

import csv
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from agent.adapters.sensors.lines import MAX_LINE_BYTES, text_of
from agent.adapters.sensors.streams import from_cells, parse_row, to_sample
from agent.config import ReplaySensor
from agent.ports import Sample
from contract.errors import BadInput, Code

LOOK_S = 0.2
"""Seconds between two checks of a file that has not grown."""


@dataclass
class Followed:
    """The place up to which a file was read, so that a source that is opened again can continue."""

    file: tuple[int, int] | None = None
    """Device and inode of the file; None before the first file."""
    offset: int = 0
    names: tuple[str, ...] = ()
    """The names of the columns; empty if each line is a JSON object."""
    is_json: bool = False
    """Whether an object was read: then the first line of a later file is never a line of names."""


def follow(
    config: ReplaySensor, beside: Path, wait: Callable[[float], bool], place: Followed | None = None
) -> Iterator[Sample | BadInput]:
    """Yields a sample for each whole appended line, and for a bad line the error, until `wait` returns True.

    Rows that were in the file before are skipped, unless `existing`. OSError if the file does not exist or cannot be
    read.
    """
    path = beside.parent / config.path
    place = place or Followed()
    if place.file is None and not path.exists():
        place.file = (0, 0)  # every row of a file that appears later is new
    skipped = 0 if place.file is not None else config.start_row if config.existing else None
    while True:
        with path.open("rb") as file:
            if place.file != _identity(file) or os.fstat(file.fileno()).st_size < place.offset:
                place.file, place.offset, place.names = _identity(file), 0, ()
            if place.offset == 0 and skipped != 0:
                _skip(file, place, skipped)
            yield from _read(file, path, config, wait, place)
        skipped = 0
        if wait(0.0):
            return


def _read(
    file: BinaryIO,
    path: Path,
    config: ReplaySensor,
    wait: Callable[[float], bool],
    place: Followed,
) -> Iterator[Sample | BadInput]:
    """Yields rows of one file until it was rotated or cut, or `wait` returns True."""
    file.seek(place.offset)
    too_long, half = False, b""
    while True:
        line = file.readline(MAX_LINE_BYTES + 1)
        whole = line.endswith(b"\n")
        if whole or len(line) > MAX_LINE_BYTES:
            first, place.offset, half = place.offset == 0, file.tell(), b""
            if not whole or too_long:
                if not too_long:
                    yield BadInput(Code.SAMPLE_INVALID, f"{path.name}: a line of more than {MAX_LINE_BYTES} bytes")
                too_long = not whole
            elif (found := _row(line, config, place, first=first)) is not None:
                yield found
            continue
        file.seek(place.offset)  # a half line is read again once it is whole
        left = _left(file, path, place)
        half = line or half
        if left == "cut" and half and not too_long:
            yield BadInput(Code.SAMPLE_INVALID, f"{path.name}: cut within a line")
        elif (
            left == "moved" and line and not too_long and (found := _row(line, config, place, first=False)) is not None
        ):
            yield found
        if left:
            place.file = (0, 0)  # the file that has this name now is read from its beginning
        if left or wait(LOOK_S):
            return


def _skip(file: BinaryIO, place: Followed, rows: int | None) -> None:
    """Reads the line of names, and skips this number of rows; None: all complete rows of the file."""
    left = -1 if rows is None else rows + 1
    while left and (line := file.readline(MAX_LINE_BYTES)):
        if not line.endswith(b"\n") and len(line) < MAX_LINE_BYTES:
            return
        if place.offset == 0:
            place.names, place.is_json = _begun(line)
            if not place.names:
                left -= 1
        place.offset = file.tell()
        left -= 1


def _left(file: BinaryIO, path: Path, place: Followed) -> str:
    """Returns "moved" if another file has the name now, "cut" if this one became shorter, else "".

    A file that was only deleted may still be written to.
    """
    try:
        now = path.stat()
    except FileNotFoundError:
        return ""
    if os.fstat(file.fileno()).st_size < place.offset:
        return "cut"
    return "moved" if (now.st_dev, now.st_ino) != place.file else ""


def _row(line: bytes, config: ReplaySensor, place: Followed, *, first: bool) -> Sample | BadInput | None:
    """Returns what a line holds; None for the line of names and for an empty one."""
    try:
        if first and not place.is_json and (names := _names(line)):
            place.names = names
            return None
        if not line.strip():
            return None
        if not place.names:
            found = parse_row(line, config.label, config.key)
            place.is_json = True
            return found
        cells = next(csv.reader([text_of(line, 2)]))
        values = dict(zip(place.names, cells, strict=True))
    except BadInput as error:
        return error
    except (ValueError, csv.Error) as error:
        return BadInput(Code.SAMPLE_INVALID, f"{line[:80]!r}: {error}"[:200])
    return to_sample(from_cells(values), config.label, config.key)


def _begun(line: bytes) -> tuple[tuple[str, ...], bool]:
    """Returns the names in a first line that is skipped, and whether it is a JSON object."""
    try:
        names = _names(line)
    except BadInput:  # the next rows show their format
        return (), False
    return names, not names


def _names(line: bytes) -> tuple[str, ...]:
    """Returns the names of columns in the first line; empty if the line is a JSON object."""
    text = text_of(line, 1).strip()
    return () if text.startswith("{") else tuple(next(csv.reader([text]), ()))


def _identity(file: BinaryIO) -> tuple[int, int]:
    found = os.fstat(file.fileno())
    return found.st_dev, found.st_ino
