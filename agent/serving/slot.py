"""The slot that serves one model: an atomic reference to a session, and what is measured around it.

Decides how a session is swapped and drained, and what an inference notes. Refuses to know why a swap happens.
"""

import math
from collections.abc import Callable
from typing import Any

import msgspec

from agent.core.model import Assignment
from agent.ports import Array, Inputs, Sample, Session
from agent.serving.capture import Capturer
from agent.serving.observed import MAX_NOTED_VALUES, MAX_NOTES, Observed
from agent.serving.rows import Answer, answer_of, encoder_of
from contract.errors import BadInput, Code, WorldError
from contract.messages import ModelWindow


class Prediction(msgspec.Struct, frozen=True, gc=False):
    """One answer, and which version gave it."""

    model: str
    release: int
    value: Answer
    latency_us: float


class Serving:
    """One session in the slot, with its inferences in flight counted so that it can be drained."""

    def __init__(self, assignment: Assignment, session: Session, lock: Any) -> None:
        manifest = assignment.manifest
        self.assignment = assignment
        self.session = session
        self.version = str(manifest.release)
        self.regression = manifest.task == "regression"
        self.row = encoder_of(manifest)
        self.observed = Observed(assignment, lock)
        self.in_flight: list[None] = []
        """One entry for each inference: appending and popping are atomic, which `+= 1` is not."""
        self.typical_s = 0.0
        """How long an inference takes of late, for who decides where to run the next one."""


class ModelSlot:
    """Serves one model. `perf_s` is a monotonic clock in seconds, handed in.

    A swap replaces one reference: an inference that has begun ends on the session it began with. Inferences take no
    lock; `lock` (any context manager will do) guards the counts that follow from them.
    """

    def __init__(self, model: str, *, perf_s: Callable[[], float], lock: Any) -> None:
        self.model = model
        self._perf_s = perf_s
        self._lock = lock
        self._serving: Serving | None = None
        self._overlapping: tuple[Serving, ...] = ()
        self.capturer: Capturer | None = None
        """Puts inferences aside that are worth keeping, where the device's configuration asks for it."""
        self.fallback: Serving | None = None
        """Answers what a worker that died could not: stable, beside a trial in a process of its own."""

    @property
    def serving(self) -> Serving | None:
        """What answers now."""
        return self._serving

    def prepare(self, assignment: Assignment, session: Session) -> Serving:
        """A loaded version, ready to be swapped in."""
        return Serving(assignment, session, self._lock)

    def swap(self, serving: Serving | None) -> Serving | None:
        """Let `serving` answer from now on; the one that answered before, still to be drained."""
        before, self._serving = self._serving, serving
        return before

    def watch_stall(self) -> None:
        """From now on remember the longest inference: one that overlaps a swap shows what the swap costs."""
        if (serving := self._serving) is not None:
            serving.observed.take_longest_s()
            self._overlapping = (serving,)

    def take_stall_ms(self) -> float:
        """Longest inference since `watch_stall` in milliseconds; ends the watch."""
        watched, self._overlapping = {*self._overlapping, self._serving}, ()
        return max((each.observed.take_longest_s() for each in watched if each is not None), default=0.0) * 1000

    def predict(self, sample: Sample) -> Prediction | None:
        """Answer one row, counting it; None while nothing serves. Faults are counted and raised as BadInput."""
        serving = self._serving
        if serving is None:
            return None
        try:
            return self._predict_on(serving, sample)
        except WorldError as error:
            if (fallback := self.fallback) is not None and fallback is not serving:
                return self._predict_on(fallback, sample)
            raise BadInput(Code.SAMPLE_INVALID, f"{error.code}: {error.detail}"[:200]) from error

    def _predict_on(self, serving: Serving, sample: Sample) -> Prediction:
        serving.in_flight.append(None)
        began_s = self._perf_s()
        try:
            outputs = serving.session.run(serving.row.arrays(sample.values))
            value = answer_of(outputs, regression=serving.regression)
        except Exception as error:
            self._note(serving, began_s, error.code if isinstance(error, BadInput) else Code.HEALTH_ERRORS, None, None)
            if isinstance(error, BadInput | WorldError):
                raise
            raise BadInput(Code.SAMPLE_INVALID, f"{type(error).__name__}: {error}"[:200]) from error
        finally:
            serving.in_flight.pop()
        fault = None if isinstance(value, str) or math.isfinite(value) else Code.HEALTH_OUTPUT
        seconds = self._note(serving, began_s, fault, value, sample.label)
        if self.capturer is not None:
            self.capturer.see_row(serving.assignment.manifest, sample.values, outputs, sample.label)
        return Prediction(self.model, serving.assignment.manifest.release, value, seconds * 1e6)

    def run(self, inputs: Inputs) -> list[Array]:
        """Outputs for tensors, in the manifest's order, without a copy. WorldError `not_serving`."""
        serving = self._serving
        if serving is None:
            raise WorldError(Code.NOT_SERVING, f"{self.model} has no version yet")
        return self.run_or_fall_back(serving, inputs)[1]

    def run_or_fall_back(self, serving: Serving, inputs: Inputs) -> tuple[Serving, list[Array]]:
        """Outputs, and which version gave them: the fallback where the version's own process died. WorldError."""
        try:
            return serving, self.run_on(serving, inputs)
        except WorldError:
            if (fallback := self.fallback) is None or fallback is serving:
                raise
            return fallback, self.run_on(fallback, inputs)

    def run_on(self, serving: Serving, inputs: Inputs) -> list[Array]:
        """Outputs of one version, counted as its inference. Raises what the runtime raises; that is counted, too."""
        in_flight, perf_s = serving.in_flight, self._perf_s
        in_flight.append(None)
        began_s = perf_s()
        try:
            outputs = serving.session.run(inputs)
        except Exception:
            self._note(serving, began_s, Code.HEALTH_ERRORS, None, None)
            raise
        finally:
            in_flight.pop()
        seconds, first = perf_s() - began_s, outputs[0]
        serving.typical_s += 0.05 * (seconds - serving.typical_s)
        notes = serving.observed.notes
        notes.append((seconds, None, first.tolist() if first.size <= MAX_NOTED_VALUES else None, None))
        if len(notes) >= MAX_NOTES:
            serving.observed.count()
        if self.capturer is not None:
            self.capturer.see_tensors(serving.assignment.manifest, inputs, outputs)
        return outputs

    def _note(
        self, serving: Serving, began_s: float, fault: Code | None, value: Answer | None, label: Answer | None
    ) -> float:
        seconds = self._perf_s() - began_s
        notes = serving.observed.notes
        notes.append((seconds, fault, value, label))
        if len(notes) >= MAX_NOTES:
            serving.observed.count()
        return seconds

    def take_tally(self) -> ModelWindow | None:
        """The tally since the last call, or None if nothing was inferred."""
        serving = self._serving
        return None if serving is None else serving.observed.take_tally()
