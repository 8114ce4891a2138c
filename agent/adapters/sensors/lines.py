"""Lines of a file or a pipe as text, each of bounded length: a bad line does not affect the others.

Decides which lines are valid text. Refuses to know what a line means.
"""

from typing import BinaryIO

from contract.errors import BadInput, Code

MAX_LINE_BYTES = 1024 * 1024
"""Characters of a line: much more than a row of thousands of columns, and little memory for a small device."""


class Lines:
    """An iterator that continues after an error, which a generator cannot. `__next__` raises BadInput `sample_invalid`.

    A byte order mark at the beginning is skipped: programs for spreadsheets write one.
    """

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._number = 0

    def __iter__(self) -> "Lines":
        return self

    def __next__(self) -> str:
        line = self._source.readline(MAX_LINE_BYTES + 1)
        if not line:
            raise StopIteration
        self._number += 1
        if len(line) > MAX_LINE_BYTES:
            self._skip(line)
            raise BadInput(Code.SAMPLE_INVALID, f"line {self._number}: more than {MAX_LINE_BYTES} bytes")
        return text_of(line, self._number)

    def _skip(self, line: bytes) -> None:
        while line and not line.endswith(b"\n"):
            line = self._source.readline(MAX_LINE_BYTES)


def text_of(line: bytes, number: int) -> str:
    """Returns a line as text. BadInput `sample_invalid` if it is not UTF-8."""
    try:
        return line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise BadInput(Code.SAMPLE_INVALID, f"line {number} is not UTF-8: {error.reason}") from None
