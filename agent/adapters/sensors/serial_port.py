"""Rows from a serial port: JSON objects or values separated by commas, one row for each line.

Decides the settings of the port and the format of a line; a port that disappears is opened again. Refuses to know which
model answers. Uses Python's termios: pyserial would do no more for a device that runs Linux.
"""

import csv
import os
import select
import termios
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

from agent.adapters.sensors.streams import from_cells, parse_row, to_sample
from agent.config import SerialSensor
from agent.ports import Sample
from contract.errors import BadInput, Code

MAX_LINE_BYTES = 64 * 1024
READ_BYTES = 4096
WAIT_S = 0.5


def from_serial(
    config: SerialSensor, beside: Path, wait: Callable[[float], bool], cut: Callable[[], None] = lambda: None
) -> Iterator[Sample | BadInput]:
    """Yields samples until `wait(seconds)`, which pauses, returns True. For a bad line, yields the error.

    Calls `cut` for half a line, whose rest is unknown: at the beginning, and where the port closes.
    """
    port = os.open(beside.parent / config.path, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        _set_up(port, config.baud)
        for line in _lines(port, wait, cut):
            yield line if isinstance(line, BadInput) else _sample(line, config)
    finally:
        os.close(port)


def _set_up(port: int, baud: int) -> None:
    """Sets eight raw bits, no echo, no flow control. Bytes that arrived before are kept."""
    tty.setraw(port, termios.TCSANOW)
    settings = termios.tcgetattr(port)
    settings[4] = settings[5] = getattr(termios, f"B{baud}")
    termios.tcsetattr(port, termios.TCSANOW, settings)


def _lines(port: int, wait: Callable[[float], bool], cut: Callable[[], None]) -> Iterator[bytes | BadInput]:
    """Yields whole lines that are not empty. The bytes before the first line end may be half a line."""
    rest, begun, too_long = b"", False, False
    while not wait(0.0):
        if not select.select([port], [], [], WAIT_S)[0]:
            continue
        try:
            came = os.read(port, READ_BYTES)
        except OSError:
            came = b""
        if not came:
            if rest.strip():
                cut()
            raise OSError("the port has closed")
        *lines, rest = (rest + came).split(b"\n")
        if lines and not (begun and not too_long):
            if lines[0].strip() and not too_long:
                cut()
            del lines[0]
            begun, too_long = True, False
        yield from (line for line in lines if line.strip())
        if len(rest) > MAX_LINE_BYTES and not too_long:
            begun = too_long = True
            yield BadInput(Code.SAMPLE_INVALID, f"a line of more than {MAX_LINE_BYTES} bytes")
        rest = b"" if too_long else rest


def _sample(line: bytes, config: SerialSensor) -> Sample | BadInput:
    try:
        if line.lstrip().startswith(b"{"):
            return parse_row(line, config.label, config.key)
        cells = next(csv.reader([line.decode()]))
        values = dict(zip(config.columns, (cell.strip() for cell in cells), strict=True))
        return to_sample(from_cells(values), config.label, config.key)
    except BadInput as error:
        return error
    except (ValueError, csv.Error):
        words = f"{line[:80]!r} is neither a JSON object nor {len(config.columns)} values separated by commas"
        return BadInput(Code.SAMPLE_INVALID, words)
