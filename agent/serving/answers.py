"""The newest answers of one model, each under an id, until its label comes.

Decides how an answer is named, what is kept of it, and which one is dropped first. Refuses to know what a label means:
`truth` compares. All methods but `next_number` and `name` are called under the slot's lock.
"""

import itertools
import re
from array import array
from contextlib import suppress
from typing import Any, Protocol

import msgspec
import numpy as np

from agent.core.model import Assignment
from contract.errors import BadInput, Code
from contract.labels import Answer

BLOCK_BITS = 10
BLOCK_SIZE = 1 << BLOCK_BITS
"""Answers of one block: a model that is rarely asked needs the memory of one block, 20 kB."""
MAX_BLOCKS = 128
"""The blocks of one model: its newest 131,072 answers, 2.7 MB. At one answer a second they are kept for 36 hours."""
MAX_ROW_VALUES = 131_072
"""The most values, 9 bytes each, that are kept of the newest answers with many rows."""
MAX_CAPTURED_ROWS = 8
"""The rows of one answer that may be captured: one byte has a bit for each."""
MAX_VERSIONS = 64
"""The most versions whose answers are known; after that the oldest is dropped with all its answers."""
MAX_TEXTS = 4096
"""The most different texts among the answers of one model: names of classes. A further text equals no label."""

_NUMBER = re.compile(r"([0-9a-f]{1,16})(?:\.([0-9]{1,5}))?\Z")
_KEPT, _TEXT, _MANY, _MUTE, _LABELLED = 1, 2, 4, 8, 16
"""Bits of an answer's state: the answer exists; its value is a text; it has many rows; no value in it can equal a
label; its label has come.
"""


class Kept(msgspec.Struct, frozen=True):
    """One row of an answer that waits for its label."""

    version: int
    """The number by which `Answers.assignments` knows the version."""
    assignment: Assignment
    value: Answer
    at_s: float
    """When it was answered, in monotonic seconds."""
    number: int
    row: int
    id: str = ""
    """Names this row: the answer's id, and the number of the row if the answer has many."""
    is_captured: bool = False
    """Whether the row was captured: then its label is sent to the controller as well."""


class _Block:
    """`BLOCK_SIZE` answers, by their place in the block."""

    __slots__ = ("at_s", "captured", "states", "values", "versions")

    def __init__(self) -> None:
        self.values = array("d", bytes(8 * BLOCK_SIZE))
        self.at_s = array("d", bytes(8 * BLOCK_SIZE))
        self.versions = array("H", bytes(2 * BLOCK_SIZE))
        self.states = bytearray(BLOCK_SIZE)
        self.captured = bytearray(BLOCK_SIZE)


class Log(Protocol):
    """The storage that keeps answers after the process ends."""

    def answered(self, number: int, version: int, value: Any, at_s: float, *, labelled: bool) -> None:
        """Notes an answer."""
        ...

    def labelled(self, name: str) -> None:
        """Notes that the label of a row has come."""
        ...

    def captured(self, name: str) -> None:
        """Notes that a row was captured."""
        ...

    def write(self, answers: "Answers") -> None:
        """Writes new records."""
        ...

    @property
    def is_unread(self) -> bool:
        """Whether answers of earlier starts were not read yet."""
        ...

    def earlier(self, answers: "Answers", name: str) -> "Answers | None":
        """Returns the answers of the earlier start that gave an id."""
        ...


class Answers:
    """Answers by number. `prefix` begins each id; no other model and no other start of the agent uses it."""

    def __init__(self, prefix: str, log: Log | None = None) -> None:
        self.prefix = prefix
        self._log = log
        self.next_number = itertools.count(1).__next__
        """Returns the number of a new answer, from any thread."""
        self.assignments: dict[int, Assignment] = {}
        """Versions whose answers are kept."""
        self._next_version = itertools.count().__next__
        self._blocks: dict[int, _Block] = {}
        self._many: dict[int, tuple[array[float], bytearray]] = {}
        """The values of the rows by number, and which rows have their label."""
        self._row_values = 0
        self._texts: dict[str, int] = {}
        self._text_of: list[str] = []

    def name(self, number: int) -> str:
        """Returns the id of an answer."""
        return f"{self.prefix}{number:x}"

    def version(self, assignment: Assignment) -> int:
        """Returns the number by which the answers of a version are kept."""
        number = self._next_version() % 65_536
        self.assignments[number] = assignment
        if len(self.assignments) > MAX_VERSIONS:
            del self.assignments[next(iter(self.assignments))]
        return number

    def write(self) -> None:
        """Writes new records, so that they are kept after the process ends."""
        if self._log is not None:
            self._log.write(self)

    @property
    def is_kept(self) -> bool:
        """Whether answers are kept after the process ends."""
        return self._log is not None

    @property
    def is_unread(self) -> bool:
        """Whether the next label may have to wait until answers of earlier starts are read from flash."""
        return self._log is not None and self._log.is_unread

    def of(self, name: str) -> "Answers":
        """Returns the answers of the start of the agent that gave an id: these answers if no other start is known."""
        if self._log is None or name.startswith(self.prefix):
            return self
        return self._log.earlier(self, name) or self

    def gave(self, name: str) -> bool:
        """Whether an id belongs to this model, from this start or an earlier one."""
        return name.startswith(self.prefix) or self.of(name) is not self

    def keep(self, number: int, version: int, value: Any, at_s: float, *, labelled: bool = False) -> None:
        """Keeps an answer: one value, or a list or a 1-D array of numbers with one for each row. `labelled`: its label
        is known already.
        """
        if self._log is not None:
            self._log.answered(number, version, value, at_s, labelled=labelled)
        block = self._blocks.get(number >> BLOCK_BITS) or self._new_block(number >> BLOCK_BITS)
        if block is None:
            return
        place, kind = number & (BLOCK_SIZE - 1), type(value)
        state = _KEPT | _LABELLED if labelled else _KEPT
        if kind is float or kind is int:
            block.values[place] = value
        elif kind is str:
            text = self._texts.get(value)
            if text is None:
                text = self._new_text(value)
            state |= _MUTE if text is None else _TEXT
            block.values[place] = text or 0
        elif kind is list:
            state |= self._keep_rows(number, value)
        elif kind is np.ndarray:
            state |= self._keep_values(number, array("d", value.astype(np.float64).tobytes()))
        elif kind is bool:
            block.values[place] = value
        else:
            state |= _MUTE
        block.at_s[place] = at_s
        block.versions[place] = version
        block.states[place] = state

    def find(self, name: str) -> tuple[int, list[Kept]]:
        """Returns how many rows an id names, and those of them that wait for a label.

        An id names all rows of an answer, or one of them: `3f-0-1c.0`. BadInput `answer_unknown` for an id that was
        never given or is not kept any more; `label_repeated` if no row waits; `label_invalid` if the answer holds
        nothing that can equal a label.
        """
        if (earlier := self.of(name)) is not self:
            return earlier.find(name)
        number, row, block = self._look_up(name)
        place = number % BLOCK_SIZE
        if block.states[place] & _MUTE:
            raise BadInput(Code.LABEL_INVALID, f"answer {name}: it has no single value for each row")
        rows, waiting = self._rows(number, block)
        if row is not None and row >= rows:
            raise BadInput(Code.ANSWER_UNKNOWN, f"no answer {name}: that one has {rows} rows")
        version, at_s = block.versions[place], block.at_s[place]
        assignment = self.assignments[version]
        whole, captured = self.name(number), block.captured[place]
        kept = [
            Kept(
                version, assignment, value, at_s, number, at,
                id=whole if rows == 1 else f"{whole}.{at}",
                is_captured=at < MAX_CAPTURED_ROWS and bool(captured >> at & 1),
            )
            for at, value in waiting
            if row in (None, at)
        ]  # fmt: skip
        if not kept:
            raise BadInput(Code.LABEL_REPEATED, f"answer {name}: it has its label; the first one counts")
        return rows if row is None else 1, kept

    def version_of(self, name: str) -> int:
        """Returns the number of the version that gave an answer. BadInput `answer_unknown`."""
        if (earlier := self.of(name)) is not self:
            return earlier.version_of(name)
        number, _, block = self._look_up(name)
        return block.versions[number % BLOCK_SIZE]

    def note_captured(self, name: str) -> None:
        """Notes that the row of this id was captured; its answer may not be kept yet."""
        found = _NUMBER.match(name, len(self.prefix)) if name.startswith(self.prefix) else None
        if found is None or (row := int(found[2] or 0)) >= MAX_CAPTURED_ROWS:
            return
        if self._log is not None:
            self._log.captured(name)
        index, place = divmod(int(found[1], 16), BLOCK_SIZE)
        block = self._blocks.get(index) or self._new_block(index)
        if block is not None:
            block.captured[place] |= 1 << row

    def _look_up(self, name: str) -> tuple[int, int | None, _Block]:
        """Returns the number, the row if the id names one, and the block. BadInput `answer_unknown`."""
        found = _NUMBER.match(name, len(self.prefix)) if name.startswith(self.prefix) else None
        if found is not None:
            index, place = divmod(int(found[1], 16), BLOCK_SIZE)
            block = self._blocks.get(index)
            if block is not None and block.states[place] and block.versions[place] in self.assignments:
                return int(found[1], 16), int(found[2]) if found[2] is not None else None, block
        words = f"the newest {MAX_BLOCKS * BLOCK_SIZE:,} since the agent has started are known, and of earlier starts "
        words += "those that [feedback] kept_bytes has room for"
        raise BadInput(Code.ANSWER_UNKNOWN, f"no answer {name[:64]!r}: {words}")

    def labelled(self, kept: Kept) -> None:
        """Notes that the label of a row of this or an earlier start has come."""
        if self._log is not None:
            self._log.labelled(kept.id)
        self.of(kept.id).note_labelled(kept.id)

    def note_labelled(self, name: str) -> None:
        """Notes that the label of the row with this id (`Kept.id`) has come; ignores an unknown id."""
        with suppress(BadInput):
            number, row, block = self._look_up(name)
            self._label(number, row or 0, block)

    def _label(self, number: int, row: int, block: _Block) -> None:
        place = number % BLOCK_SIZE
        if not block.states[place] & _MANY:
            block.states[place] |= _LABELLED
        elif number in self._many and row < len(self._many[number][1]):
            self._many[number][1][row] = 1

    def _rows(self, number: int, block: _Block) -> tuple[int, list[tuple[int, Answer]]]:
        """Returns how many rows an answer has, and (row, value) of those without a label."""
        place = number % BLOCK_SIZE
        state = block.states[place]
        if state & _MANY:
            values, labelled = self._many.get(number, (array("d"), bytearray()))
        else:
            values, labelled = block.values[place : place + 1], bytearray([bool(state & _LABELLED)])
        pairs = enumerate(zip(values, labelled, strict=True))
        texts = bool(state & _TEXT)
        waiting = [(row, self._text_of[int(value)] if texts else value) for row, (value, done) in pairs if not done]
        return len(values), waiting

    def _keep_rows(self, number: int, rows: list[Any]) -> int:
        """Keeps one value for each row; returns the bits of the answer's state. Rows of several values can equal no
        label.
        """
        texts = 0
        if rows and type(rows[0]) is list:
            rows = [row[0] for row in rows if len(row) == 1] if all(type(row) is list for row in rows) else []
        if rows and type(rows[0]) is str:
            known = self._texts
            numbers = [known[row] if row in known else self._new_text(row) for row in rows]
            rows, texts = ([], 0) if None in numbers else (numbers, _TEXT)
        try:
            return texts | self._keep_values(number, array("d", rows))
        except TypeError:
            return _MUTE

    def _keep_values(self, number: int, values: "array[float]") -> int:
        """Keeps the numbers of the rows, or those of their texts; returns the bits of the answer's state."""
        if not values:
            return _MUTE
        self._many[number] = values, bytearray(len(values))
        self._row_values += len(values)
        while self._row_values > MAX_ROW_VALUES:
            self._row_values -= len(self._many.pop(next(iter(self._many)))[0])
        return _MANY

    def _new_text(self, text: str) -> int | None:
        """Returns the number of a text that is new; None if there are too many."""
        if len(self._texts) >= MAX_TEXTS:
            return None
        self._text_of.append(text)
        return self._texts.setdefault(text, len(self._texts))

    def _new_block(self, index: int) -> _Block | None:
        """Returns a new block; None for answers that are older than all kept ones."""
        if len(self._blocks) >= MAX_BLOCKS:
            oldest = min(self._blocks)
            if index < oldest:
                return None
            del self._blocks[oldest]
            for number in [each for each in self._many if each // BLOCK_SIZE == oldest]:
                self._row_values -= len(self._many.pop(number)[0])
        return self._blocks.setdefault(index, _Block())
