"""The measurements of inferences: one note for each, which takes 0.1 us, and later counts of many notes.

Decides what is counted, and when. A note that cannot be counted affects no other note. Refuses to know how an inference
is made.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np

from agent.core.judged import Inference, JudgedInferences
from agent.core.model import Assignment
from agent.ports import Array, Inputs
from agent.serving.answers import Answers
from agent.serving.groups import Groups
from agent.serving.shadow import Compared
from agent.serving.tally import Tally, sayable
from contract.distributions import columns_of
from contract.errors import Code
from contract.histogram import merge
from contract.labels import LARGEST, Answer, same_label
from contract.messages import ModelInterval

MAX_NOTES = 32
"""The most inferences that may wait to be counted: counting takes 2 us each, for which the next request waits."""

MAX_NOTED_VALUES = 1024
"""Values of a tensor's answer that are counted; a larger answer counts as an inference only."""
_NUMBERS = "iuf"
"""Kinds of numpy's dtypes of which one array is kept, and no object for each number."""

WORDS_EVERY_S = 3600.0
"""Seconds until the words of a code are sent again: the first words name the fault, and further ones are not useful.
"""

Note = tuple[float, Code | None, Any, Answer | None, int, int, float]
"""One note: seconds; the fault; the answer (of tensors what `noted` returns); the label, if there is
one; rows; the number of the answer, 0 for an answer without one; when it began, in monotonic seconds."""


class Observed:
    """The notes of one version and the counts made from them. `lock` guards the counts; notes need none.

    `perf_s` is a monotonic clock in seconds, which limits how often words are sent. `dropped` counts notes that were
    skipped.
    """

    def __init__(
        self,
        assignment: Assignment,
        lock: Any,
        *,
        perf_s: Callable[[], float],
        answers: Answers,
        dropped: Counter[str] | None = None,
        private: frozenset[str] = frozenset(),
    ) -> None:
        self.notes: list[Note] = []
        self._answers = answers
        self.version = answers.version(assignment)
        """The number by which `answers` knows this version."""
        self.failed: Counter[tuple[str, str]] = Counter()
        """Counts since it was loaded, by reason and code: inferences that failed, and requests that were refused."""
        self._assignment = assignment
        self._classifies = assignment.manifest.task == "classification"
        self._lock = lock
        self._perf_s = perf_s
        self._dropped: Counter[str] = Counter() if dropped is None else dropped
        self._judged_inferences = JudgedInferences(assignment.policy.judged_inferences)
        self._judged_since_s = -math.inf
        self._tally = Tally()
        groups = tuple(column for column in assignment.manifest.groups if column not in private)
        self.groups = Groups(groups, assignment.manifest.positive) if groups and self._classifies else None
        """Called under the lock; None if no groups are watched."""
        self._said_at: dict[str, float] = {}
        self._untold: dict[str, str] = {}
        self._longest_s = 0.0
        self._lifetime: tuple[int, ...] = ()
        self._lifetime_s = 0.0

    @property
    def judged_inferences(self) -> JudgedInferences:
        """The newest inferences, by which health is judged."""
        self.count()
        return self._judged_inferences

    def take_tally(self) -> ModelInterval | None:
        """Returns what was counted since the last call; None if nothing was."""
        self.count()
        with self._lock:
            tally = self._tally
            if tally.is_empty:
                return None
            self._tally = Tally()
            interval = tally.interval(self._assignment)
            if self.groups is not None:
                interval = msgspec.structs.replace(interval, groups=self.groups.take())
            self._lifetime = merge((self._lifetime, interval.latency_counts))
        return interval

    def take_faults(self) -> dict[str, str]:
        """Returns the new words by code: what was wrong with the first row of each."""
        if not self._untold:
            return {}
        with self._lock:
            untold, self._untold = self._untold, {}
        return untold

    def lifetime(self) -> tuple[tuple[int, ...], float]:
        """Returns (latency histogram, seconds) of all inferences since the version was loaded."""
        self.count()
        with self._lock:
            return merge((self._lifetime, self._tally.latency)), self._lifetime_s

    def note(self, seconds: float, fault: Code, words: str, rows: int = 1) -> None:
        """Notes a failed inference, and what was wrong in words."""
        self.notes.append((seconds, fault, None, None, rows, 0, 0.0))
        self.fault(fault, words)
        if len(self.notes) >= MAX_NOTES:
            self.count()

    def fault(self, fault: Code, words: str) -> None:
        """Keeps in words what was wrong with an inference, if they are the first words of their code."""
        with self._lock:
            self._say(fault, words)
            self._judged_inferences.error_words = self._judged_inferences.error_words or sayable(words)

    def refuse(self, code: Code, words: str, *, alone: bool = False) -> None:
        """Counts a request that the version cannot accept: it is no inference. `alone`: stable would have
        accepted it.
        """
        with self._lock:
            self._tally.refuse(code, alone=alone)
            self.failed["refused", str(code)] += 1
            self._judged_inferences.refuse(sayable(words), alone=alone)
            self._say(code, words)

    def see_group(self, number: int, values: Mapping[str, Any], answer: Any, label: Answer | None) -> None:
        """Counts an answered row by its groups."""
        if self.groups is not None:
            with self._lock:
                self.groups.add((number, 0), values, answer, label)

    def see_groups(self, number: int, inputs: Inputs, answers: Array) -> None:
        """Counts answered tensors by their groups: inputs by name and the first output, shapes (rows, ...)."""
        manifest = self._assignment.manifest
        columns = columns_of(manifest.columns, list(inputs.values()))
        known = {name: columns[name] for name in manifest.groups if name in columns}
        if self.groups is not None and known and answers.ndim:
            with self._lock:
                self.groups.add_tensors(number, known, answers.reshape(len(answers), -1)[:, 0])

    def refuse_label(self) -> None:
        """Counts an invalid label; the row is still answered."""
        with self._lock:
            self._tally.labels.labels_unusable += 1

    def note_unknown_class(self) -> None:
        """Counts a label of no known class; the row is still answered."""
        with self._lock:
            self._tally.labels.labels_unknown += 1

    def judged_later(self, at_s: float, correct: bool | None, distance: float | None, label: float) -> None:
        """Judges by a label that came after its inference was counted, unless the inference is older than all judged
        ones.

        Called under the lock.
        """
        if at_s >= self._judged_since_s:
            self._judged_inferences.add_label(correct, distance, label)

    def compared(self, found: Compared) -> None:
        """Counts how a shadow's answers compare with stable's."""
        with self._lock:
            self._tally.compare(found)
            self._judged_inferences.compare(found.rows, found.agreed)

    def judge_anew(self) -> None:
        """Judges by later inferences only: used for stable when a trial begins beside it."""
        self.count()
        with self._lock:
            self._judged_inferences = JudgedInferences(self._assignment.policy.judged_inferences)
            self._judged_since_s = self._perf_s()

    def take_longest_s(self) -> float:
        """Returns the duration of the longest inference since the last call, in seconds."""
        self.count()
        longest_s, self._longest_s = self._longest_s, 0.0
        return longest_s

    def count(self) -> None:
        """Counts all notes."""
        if not self.notes:
            return
        with self._lock:
            batch = self.notes[:]
            del self.notes[: len(batch)]
            classes: list[Any] = []
            columns: list[Array] = []
            for note in batch:
                try:
                    self._count(note, classes, columns)
                except Exception:  # only the note of a bad answer is lost
                    self._dropped["notes_skipped"] += 1
            for name, count in (Counter(classes) + _counted(columns)).items():
                self._tally.predictions[str(name)] += count
            self._answers.write()

    def _count(self, note: Note, classes: list[Any], columns: list[Array]) -> None:
        """Counts one note, and adds the classes in its answer to those that are counted together."""
        seconds, fault, value, label, rows, number, began_s = note
        self._lifetime_s += seconds
        self._longest_s = max(self._longest_s, seconds)
        row_us = self._tally.add_inference(seconds * 1e6, rows, fault)
        if fault is not None:
            self.failed["failed", str(fault)] += 1
        elif number:
            self._answers.keep(number, self.version, value, began_s, labelled=label is not None)
        if value is None:
            self._judged_inferences.add(Inference(row_us, fault), rows)
            return
        correct = distance = None
        truth = 0.0
        if label is not None and fault is None and not isinstance(value, (list, np.ndarray)):
            if self._classifies:
                correct = same_label(value, label)
                self._tally.labels.add_class(correct=correct)
            elif not isinstance(value, str) and abs(value) <= LARGEST:
                truth = float(label)
                distance = self._tally.labels.add_number(value, truth)
        self._judged_inferences.add(Inference(row_us, fault, correct, distance, truth), rows)
        if not isinstance(value, np.ndarray):
            _name(value, classes, classifies=self._classifies)
        elif self._classifies and value.dtype.kind != "f":
            columns.append(value)

    def _say(self, code: str, words: str) -> None:
        """Keeps a code's words for the message and the log, unless they were sent a short time ago."""
        now = self._perf_s()
        if now - self._said_at.get(code, -math.inf) >= WORDS_EVERY_S:
            self._said_at[code] = now
            self._untold[code] = self._tally.faults[str(code)] = sayable(words)


def noted(answers: Array) -> Any:
    """Returns what is noted of a first output, any shape: a copy of a column of numbers, otherwise nested lists; None
    beyond `MAX_NOTED_VALUES`.
    """
    if answers.size > MAX_NOTED_VALUES:
        return None
    return answers.copy() if answers.ndim == 1 and answers.dtype.kind in _NUMBERS else answers.tolist()


def _counted(columns: list[Array]) -> Counter[Any]:
    """Returns how often each number occurs in 1-D arrays of integers."""
    if not columns:
        return Counter()
    values, counts = np.unique(np.concatenate(columns), return_counts=True)
    return Counter(dict(zip(values.tolist(), counts.tolist(), strict=True)))


def _name(value: Any, classes: list[Any], *, classifies: bool) -> None:
    """Adds the classes in an answer, which is one value or nested lists. They are named once all are counted."""
    if isinstance(value, str):
        classes.append(value)
        return
    values = value if type(value) is list else [value]
    while values and type(values[0]) is list:
        values = [cell for row in values for cell in row]
    if classifies and values and not isinstance(values[0], float):
        classes.extend(values)
