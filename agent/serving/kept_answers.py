"""Answers on flash: the facts that a label needs about an answer from before a restart of the agent.

Decides what is written of an answer, and how the answers of earlier starts are found again. They are read when the
first label for one comes, and not at the start. Refuses to know segments and files: `flash.answer_log` does.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from agent.core.model import Assignment
from agent.flash.answer_log import AnswerLog
from agent.serving.answers import Answers
from contract.errors import EdgewardError

MAX_KEPT_ROWS = 64
"""The most rows of one answer that are written: 10 bytes each. A larger answer is kept in memory only."""
MAX_STARTS = 64
"""The number of newest starts of the agent whose answers are found again."""
MAX_EARLIER = 32
"""The most versions, with those of earlier starts: more would replace those that answer now."""


class Answered(msgspec.Struct, array_like=True, tag="a", gc=False):
    """An answer: `age` is how many tenths of a second it was old when its frame was written."""

    number: int
    version: int
    value: Any
    age: int
    labelled: bool = False


class Version(msgspec.Struct, array_like=True, tag="v", gc=False):
    """A version that answered; each segment holds it once."""

    number: int
    assignment: Assignment


class Labelled(msgspec.Struct, array_like=True, tag="l", gc=False):
    """A row of this start or an earlier one whose label has come."""

    id: str


class Captured(msgspec.Struct, array_like=True, tag="c", gc=False):
    """A row that was captured."""

    id: str


Record = Answered | Version | Labelled | Captured


class Frame(msgspec.Struct, array_like=True, gc=False):
    """The records of one write, in order. `at` is seconds since 1970."""

    prefix: str
    at: float
    records: list[Record]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Frame).decode


class KeptAnswers:
    """The log of one model's answers. `clock` is seconds since 1970, `perf_s` monotonic seconds.

    All is called under the slot's lock, from any thread. A record that cannot be written is counted in `dropped`;
    the answer itself is not affected.
    """

    def __init__(
        self,
        log: AnswerLog,
        *,
        clock: Callable[[], float],
        perf_s: Callable[[], float],
        dropped: Counter[str],
    ) -> None:
        self._log = log
        self._clock = clock
        self._perf_s = perf_s
        self._dropped = dropped
        self._fresh: list[tuple[float, Record]] = []
        """Records that are not written yet, and the times at which they were made."""
        self._told: set[int] = set()
        """Versions that the newest segment knows."""
        self._earlier: dict[str, Answers] | None = None
        """The answers of earlier starts by prefix; None until they are needed."""

    def answered(self, number: int, version: int, value: Any, at_s: float, *, labelled: bool) -> None:
        """Notes an answer of this start."""
        if isinstance(value, (list, np.ndarray)) and len(value) > MAX_KEPT_ROWS:
            return
        cells = value.tolist() if isinstance(value, np.ndarray) else value
        self._fresh.append((at_s, Answered(number, version, cells, 0, labelled)))

    def labelled(self, name: str) -> None:
        """Notes that the label of a row has come."""
        self._fresh.append((self._perf_s(), Labelled(name)))

    def captured(self, name: str) -> None:
        """Notes that a row was captured."""
        self._fresh.append((self._perf_s(), Captured(name)))

    def write(self, answers: Answers) -> None:
        """Writes new records: one call of the kernel."""
        fresh, self._fresh = self._fresh, []
        if not fresh:
            return
        now = self._perf_s()
        for at_s, record in fresh:
            if type(record) is Answered:
                record.age = max(0, round((now - at_s) * 10))
        if self._log.is_at_start:
            self._told.clear()
        used = {record.version for _, record in fresh if type(record) is Answered} - self._told
        known = [Version(each, answers.assignments[each]) for each in sorted(used) if each in answers.assignments]
        records = [*known, *(record for _, record in fresh)]
        try:
            self._log.append(_encode(Frame(answers.prefix, self._clock(), records)))
            self._told |= used
        except (EdgewardError, OSError):
            self._told.clear()
            self._dropped["answers_unkept"] += len(fresh)

    @property
    def is_unread(self) -> bool:
        """Whether answers of earlier starts were not read yet."""
        return self._earlier is None

    def earlier(self, answers: Answers, name: str) -> Answers | None:
        """Returns the answers of the start that gave the id `name`; None if none of them is known.

        `answers` are those of this start: it knows the versions of earlier starts from now on.
        """
        if self._earlier is None:
            self._earlier = self._read(answers)
        return next((each for prefix, each in self._earlier.items() if name.startswith(prefix)), None)

    def _read(self, current: Answers) -> dict[str, Answers]:
        reading = _Reading(current)
        behind_s = self._clock() - self._perf_s()
        for content in self._log.frames():
            try:
                frame = _decode(content)
            except msgspec.MsgspecError:
                continue
            if frame.prefix != current.prefix:
                reading.take(frame, min(frame.at - behind_s, self._perf_s()))
        return dict(list(reading.found.items())[-MAX_STARTS:])


class _Reading:
    """Answers of earlier starts, read from frames: `found` by prefix. Their versions are added to `current`."""

    def __init__(self, current: Answers) -> None:
        self.found: dict[str, Answers] = {}
        self._current = current
        self._numbers: dict[tuple[str, int], int] = {}
        """The present number of each version, by prefix and earlier number."""

    def take(self, frame: Frame, at_s: float) -> None:
        """Adds a frame that was written at `at_s`, in monotonic seconds of this start."""
        answers = self.found.setdefault(frame.prefix, Answers(frame.prefix))
        answers.assignments = self._current.assignments
        for record in frame.records:
            match record:
                case Version(number, assignment):
                    self._know(frame.prefix, number, assignment)
                case Answered():
                    if (version := self._numbers.get((frame.prefix, record.version))) is not None:
                        made_s = at_s - record.age / 10
                        answers.keep(record.number, version, record.value, made_s, labelled=record.labelled)
                case Captured():
                    answers.note_captured(record.id)
                case Labelled():
                    for each in self.found.values():
                        each.note_labelled(record.id)

    def _know(self, prefix: str, number: int, assignment: Assignment) -> None:
        known = self._current.assignments
        same = (each for each in self._numbers.values() if each in known and known[each].ref == assignment.ref)
        known_as = next(same, None)
        if known_as is None and len(known) < MAX_EARLIER:
            known_as = self._current.version(assignment)
        if known_as is not None:
            self._numbers[prefix, number] = known_as
