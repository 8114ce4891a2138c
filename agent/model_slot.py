"""The slot that serves one model: an atomic reference to a session, and what is measured around it.

Decides how a row becomes arrays, how an answer is checked, and how a session is swapped and drained.
Refuses to know why a swap happens.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np

from agent.core.health import HealthWindow, Inference
from agent.core.model import Assignment
from agent.ports import Array, Sample, Session
from contract.errors import BadInput, Code
from contract.histogram import LATENCY_BUCKETS, bucket_of, trimmed
from contract.manifest import DATATYPES, Manifest
from contract.messages import ModelWindow

MAX_LABELS = 16
"""Distinct answers counted by name in one interval; the rest are "other"."""


class Prediction(msgspec.Struct, frozen=True, gc=False):
    """One answer, and which version gave it."""

    model: str
    release: int
    value: str | float
    latency_us: float


class Tally:
    """Counts of one version during one telemetry interval."""

    def __init__(self) -> None:
        self.inferences = 0
        self.errors = 0
        self.labelled = 0
        self.correct = 0
        self.absolute_error_sum = 0.0
        self.latency = [0] * LATENCY_BUCKETS
        self.predictions: Counter[str] = Counter()

    def answered(self, sample: Sample, value: str | float | None, correct: bool | None) -> None:
        """Count one answer; None for an inference that failed."""
        self.inferences += 1
        if correct is not None:
            self.labelled += 1
            self.correct += correct
        elif isinstance(value, float) and sample.label is not None and np.isfinite(value):
            self.labelled += 1
            self.absolute_error_sum += abs(value - float(sample.label))
        if isinstance(value, str):
            self.predictions[value] += 1

    def window(self, assignment: Assignment) -> ModelWindow:
        """The tally as a message."""
        common = dict(self.predictions.most_common(MAX_LABELS))
        if rest := self.predictions.total() - sum(common.values()):
            common["other"] = common.get("other", 0) + rest
        return ModelWindow(
            model=assignment.model,
            version=assignment.ref,
            inferences=self.inferences,
            errors=self.errors,
            labelled=self.labelled,
            correct=self.correct,
            absolute_error_sum=self.absolute_error_sum,
            latency_us=trimmed(self.latency),
            predictions={label[:128]: count for label, count in common.items()},
        )


class Serving:
    """One session in the slot, with its users counted so that it can be drained, and its window and tally."""

    def __init__(self, assignment: Assignment, session: Session) -> None:
        self.assignment = assignment
        self.session = session
        self.users = 0
        self.window = HealthWindow(assignment.policy.window)
        self.tally = Tally()
        self.row = RowEncoder(assignment.manifest)


class ModelSlot:
    """Serves one model. `perf_s` is a monotonic clock in seconds, handed in.

    A swap replaces one reference: an inference that has begun ends on the session it began with. `users` may be
    touched by several inference threads, hence the lock that is handed in (any context manager will do).
    """

    def __init__(self, model: str, *, perf_s: Callable[[], float], lock: Any) -> None:
        self.model = model
        self._perf_s = perf_s
        self._lock = lock
        self._serving: Serving | None = None
        self._stall_us: float | None = None

    @property
    def serving(self) -> Serving | None:
        """What answers now."""
        return self._serving

    def swap(self, serving: Serving | None) -> Serving | None:
        """Let `serving` answer from now on; the one that answered before, still to be drained."""
        with self._lock:
            before, self._serving = self._serving, serving
        return before

    def watch_stall(self) -> None:
        """From now on remember the longest inference: one that overlaps a swap shows what the swap costs."""
        self._stall_us = 0.0

    def take_stall_ms(self) -> float:
        """Longest inference since `watch_stall` in milliseconds; ends the watch."""
        stall_us, self._stall_us = self._stall_us, None
        return (stall_us or 0.0) / 1000

    def predict(self, sample: Sample) -> Prediction | None:
        """Answer one row, counting it; None while nothing serves. Faults are counted and raised as BadInput."""
        with self._lock:
            serving = self._serving
            if serving is None:
                return None
            serving.users += 1
        began_s = self._perf_s()
        try:
            value = _answer(serving, sample)
        except Exception as error:
            self._observe(serving, sample, None, began_s, _fault(error))
            if isinstance(error, BadInput):
                raise
            raise BadInput(Code.SAMPLE_INVALID, f"{type(error).__name__}: {error}"[:200]) from error
        finally:
            with self._lock:
                serving.users -= 1
        fault = Code.HEALTH_OUTPUT if isinstance(value, float) and not np.isfinite(value) else None
        latency_us = self._observe(serving, sample, value, began_s, fault)
        return Prediction(self.model, serving.assignment.manifest.release, value, latency_us)

    def _observe(
        self, serving: Serving, sample: Sample, value: str | float | None, began_s: float, fault: Code | None
    ) -> float:
        latency_us = (self._perf_s() - began_s) * 1e6
        correct = _is_correct(serving.assignment.manifest, value, sample.label)
        with self._lock:
            if self._stall_us is not None:
                self._stall_us = max(self._stall_us, latency_us)
            serving.window.add(Inference(latency_us, fault, correct))
            serving.tally.latency[bucket_of(latency_us)] += 1
            serving.tally.errors += fault is not None
            serving.tally.answered(sample, value, correct)
        return latency_us

    def take_tally(self) -> ModelWindow | None:
        """The tally since the last call, or None if nothing was inferred."""
        with self._lock:
            serving = self._serving
            if serving is None or serving.tally.inferences == 0:
                return None
            tally, serving.tally = serving.tally, Tally()
        return tally.window(serving.assignment)


class RowEncoder:
    """Turns a sensor's row into the arrays that the manifest's inputs ask for, without per-row decisions."""

    def __init__(self, manifest: Manifest) -> None:
        self._matrix = len(manifest.inputs) == 1
        self._columns = manifest.columns
        self._inputs = [(tensor.name, np.dtype(DATATYPES[tensor.datatype])) for tensor in manifest.inputs]

    def arrays(self, values: Mapping[str, Any]) -> dict[str, Array]:
        """Arrays of one row by input name; BadInput `sample_invalid` names the column that is missing or wrong."""
        try:
            row = [values[column] for column in self._columns]
            if self._matrix:
                name, dtype = self._inputs[0]
                return {name: _cells(row, dtype)}
            pairs = zip(self._inputs, row, strict=True)
            return {name: _cells([value], dtype) for (name, dtype), value in pairs}
        except KeyError as error:
            raise BadInput(Code.SAMPLE_INVALID, f"column {error} is missing") from None
        except (TypeError, ValueError) as error:
            raise BadInput(Code.SAMPLE_INVALID, f"{error}; columns are {', '.join(self._columns)[:200]}") from None


def _cells(row: list[Any], dtype: np.dtype[Any]) -> Array:
    if dtype.kind == "U":
        return np.array([[str(cell) for cell in row]], dtype=object)
    return np.array([row], dtype=dtype)


def _answer(serving: Serving, sample: Sample) -> str | float:
    outputs = serving.session.run(serving.row.arrays(sample.values))
    first = outputs[0].reshape(-1)[0]
    return float(first) if serving.assignment.manifest.task == "regression" else _label(first)


def _label(value: Any) -> str | float:
    return float(value) if isinstance(value, np.floating) else str(value)


def _fault(error: Exception) -> Code:
    return error.code if isinstance(error, BadInput) else Code.HEALTH_ERRORS


def _is_correct(manifest: Manifest, value: str | float | None, label: str | float | None) -> bool | None:
    if label is None or value is None or manifest.task != "classification":
        return None
    return _same_label(value, label)


def _same_label(value: str | float, label: str | float) -> bool:
    try:
        return _number(value) == _number(label)  # a CSV says "1.0" or "True" where the model says 1
    except ValueError:
        return str(value) == str(label)


def _number(label: str | float) -> float:
    word = str(label).lower()
    return float(word == "true") if word in ("true", "false") else float(label)
