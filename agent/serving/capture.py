"""Chooses which inferences are kept for the controller, and which of their columns: a sample, and low confidence.

Decides by the device's own configuration, which is the only permission for data to leave the device. Refuses to
know where rows are sent. Called after every inference, from any thread.
"""

import math
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any, Literal

from msgspec.structs import replace

from agent.config import Capture
from agent.ports import Array, Inputs
from agent.serving.answers import MAX_CAPTURED_ROWS
from agent.serving.rows import answer_of, confidence_of, typed_cells
from agent.serving.slot import NOTHING, About
from contract.captured import MAX_COLUMNS, CapturedRow, Cell, LateLabel
from contract.labels import Answer
from contract.manifest import Manifest
from contract.remote_config import CaptureRates

MAX_WAITING = 1024
"""The most rows that wait to be written; after that the oldest is dropped and counted."""
MAX_ROWS_OF_REQUEST = MAX_CAPTURED_ROWS
"""The most rows of one request that are considered: further rows add little."""
MAX_TEXT_CHARS = 256
MAX_KEY_CHARS = MAX_FILE_CHARS = 128

Why = Literal["sampled", "hard"]


class Capturer:
    """Chooses rows of one model. `random` returns numbers in [0, 1), `clock` seconds since 1970."""

    def __init__(
        self, policy: Capture, *, random: Callable[[], float], clock: Callable[[], float], dropped: Counter[str]
    ) -> None:
        self._own = self._policy = policy
        self.removed = frozenset(policy.remove)
        """Columns whose cells never leave this device."""
        self._random = random
        self._clock = clock
        self._dropped = dropped
        self.waiting: deque[CapturedRow] = deque()
        self.labels: deque[LateLabel] = deque()
        """Labels that came after their rows were captured."""
        self.note_captured: Callable[[str], None] = lambda _: None
        """The function that is called with the id of each captured row."""

    def take_label(self, name: str, label: Answer) -> None:
        """Keeps the label of a captured row, by the id of its answer, until the label is written. From any thread."""
        if len(self.labels) >= MAX_WAITING:
            self.labels.popleft()
            self._dropped["captured_labels"] += 1
        self.labels.append(LateLabel(model=self._policy.model, id=name, label=label))

    def choose_by(self, rates: CaptureRates | None) -> None:
        """Sets other rates for later choices; None means the device's own. The removed columns stay those of the
        device.
        """
        changed = (
            {} if rates is None else {"rate": float(rates.rate), "below_confidence": float(rates.below_confidence)}
        )
        self._policy = replace(self._own, **changed)

    def see_row(
        self,
        manifest: Manifest,
        values: Mapping[str, Any],
        outputs: list[Array] | None,
        label: Answer | None = None,
        about: About = NOTHING,
    ) -> None:
        """Keeps an answered row, by column name, if it is chosen. `outputs` have shapes (1, ...)."""
        if outputs is None:
            return
        confidence = confidence_of(outputs, 0)
        why = self._why(confidence)
        if why is not None:
            value = answer_of(outputs, regression=_is_real(manifest))
            self._keep(manifest, (why, confidence), values, (value, label), about)

    def see_tensors(
        self, manifest: Manifest, inputs: Inputs, outputs: list[Array] | None, about: About = NOTHING
    ) -> None:
        """Keeps chosen rows of answered tensors, shapes (rows, ...). Skips inputs without named columns."""
        if outputs is None:
            return
        rows = _rows(manifest, inputs)
        for number in range(min(rows, MAX_ROWS_OF_REQUEST)):
            confidence = confidence_of(outputs, number)
            why = self._why(confidence)
            if why is not None and len(outputs[0]) == rows:
                value = answer_of([outputs[0][number : number + 1]], regression=_is_real(manifest))
                values = _by_column(manifest, inputs, number)
                named = about if rows == 1 or not about.id else replace(about, id=f"{about.id}.{number}")
                self._keep(manifest, (why, confidence), values, (value, None), named)

    def _why(self, confidence: float | None) -> Why | None:
        if confidence is not None and confidence < self._policy.below_confidence:
            return "hard"
        return "sampled" if self._policy.rate and self._random() < self._policy.rate else None

    def _keep(
        self,
        manifest: Manifest,
        chosen: tuple[Why, float | None],
        values: Mapping[str, Any],
        answered: tuple[Answer, Answer | None],
        about: About,
    ) -> None:
        """Keeps a row: the reason, its confidence, its answer, and its label."""
        (why, confidence), (value, label) = chosen, answered
        kept = [column for column in manifest.columns if column not in self.removed][:MAX_COLUMNS]
        cells = typed_cells(manifest, values, kept)
        row = CapturedRow(
            at=round(self._clock(), 3),
            model=self._policy.model,
            release=manifest.release,
            why=why,
            inputs={column: plain_cell(cell) for column, cell in cells.items()},
            value=_finite(value),
            confidence=None if confidence is None else round(confidence, 4),
            label=_finite(label),
            id=about.id,
            key=about.key if self._may_leave(about.key, values) else "",
            file=about.file[:MAX_FILE_CHARS],
        )
        if len(self.waiting) >= MAX_WAITING:
            self.waiting.popleft()
            self._dropped["captured_rows"] += 1
        self.waiting.append(row)
        if about.id:
            self.note_captured(about.id)

    def _may_leave(self, key: str, values: Mapping[str, Any]) -> bool:
        """Whether a key may leave the device: not if it is too long or equals a cell that may not leave the device."""
        return len(key) <= MAX_KEY_CHARS and all(str(values.get(column)) != key for column in self.removed)


def _rows(manifest: Manifest, inputs: Inputs) -> int:
    """Returns the rows of one matrix (rows, columns), or of an input (rows, 1) per column; 0 for other shapes."""
    arrays = list(inputs.values())
    if len(manifest.inputs) == 1:
        fits = arrays[0].ndim == 2 and arrays[0].shape[1] == len(manifest.columns)
    else:
        fits = all(array.ndim == 2 and array.shape[1] == 1 for array in arrays)
    return len(arrays[0]) if fits else 0


def _by_column(manifest: Manifest, inputs: Inputs, number: int) -> dict[str, Any]:
    if len(manifest.inputs) == 1:
        (matrix,) = inputs.values()
        return dict(zip(manifest.columns, matrix[number].tolist(), strict=True))
    return {name: array[number, 0] for name, array in inputs.items()}


def plain_cell(value: Any) -> Cell:
    """Returns a cell as JSON can carry it: a short text, a finite number, or None."""
    plain = value.item() if hasattr(value, "item") else value
    if isinstance(plain, float):
        return _finite(plain)
    return plain if plain is None or isinstance(plain, bool | int) else str(plain)[:MAX_TEXT_CHARS]


def _is_real(manifest: Manifest) -> bool:
    return manifest.task == "regression"


def _finite(value: Answer | None) -> Answer | None:
    """Returns None for NaN and infinity, which JSON cannot hold."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
