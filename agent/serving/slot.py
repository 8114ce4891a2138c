"""The slot that serves one model: an atomic reference to a session, and what is measured around it.

Decides how a session is swapped and drained, which version answers a request, and what an inference notes. Refuses to
know why a swap happens.
"""

import zlib
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

from agent.core.model import Assignment
from agent.ports import Array, Inputs, Sample, Session, Stop, Stopped
from agent.serving.cost import Cost
from agent.serving.distribution import Distribution
from agent.serving.observed import MAX_NOTED_VALUES, MAX_NOTES, Observed
from agent.serving.rows import answer_of, encoder_of
from contract.errors import BadInput, Code, WorldError
from contract.labels import Answer
from contract.manifest import Manifest
from contract.messages import ModelInterval


class Prediction(msgspec.Struct, frozen=True, gc=False):
    """One answer, and which version gave it."""

    model: str
    release: int
    value: Answer
    latency_us: float


class _Unloaded:
    """Stands in for a session whose memory was needed."""

    def run(self, inputs: Inputs, stop: Stop | None = None) -> list[Array]:
        raise WorldError(Code.NOT_SERVING, "unloaded: its memory was needed for the version that is being loaded")


class Split(msgspec.Struct, frozen=True):
    """Which requests a trial answers: one key always finds the same version, and a raised share only adds keys."""

    traffic_share: float
    salt: str
    """Names the trial, so that other keys try the next one."""

    def has(self, key: str | bytes) -> bool:
        """Whether the trial answers requests of this key."""
        raw = key.encode(errors="replace") if isinstance(key, str) else key
        return zlib.crc32(raw, zlib.crc32(self.salt.encode())) < self.traffic_share * 2**32


class Watcher(Protocol):
    """Sees answered inferences. It must be quick and must copy arrays that it keeps: they belong to the caller."""

    def see_row(
        self, manifest: Manifest, values: Mapping[str, Any], outputs: list[Array], label: Answer | None = None
    ) -> None:
        """Takes an answered row by column name; `outputs` have shapes (1, ...)."""
        ...

    def see_tensors(self, manifest: Manifest, inputs: Inputs, outputs: list[Array]) -> None:
        """Takes answered tensors; shapes (rows, ...) and dtypes are the manifest's."""
        ...


class Serving:
    """One session in the slot, with its inferences in flight counted so that it can be drained."""

    def __init__(
        self,
        assignment: Assignment,
        session: Session,
        *,
        perf_s: Callable[[], float],
        lock: Any,
        distribution: Distribution | None = None,
    ) -> None:
        manifest = assignment.manifest
        self._perf_s = perf_s
        self.assignment = assignment
        self.session = session
        self.version = str(manifest.release)
        self.regression = manifest.task == "regression"
        self.row = encoder_of(manifest)
        self.inputs = {tensor.name: tensor for tensor in manifest.inputs}
        self.observed = Observed(assignment, lock)
        self._notes = self.observed.notes
        self.distribution = distribution
        self.in_flight: list[None] = []
        """One entry for each inference: appending and popping are atomic, which `+= 1` is not."""
        self.cost = Cost(manifest.inputs)

    def infer(
        self,
        inputs: Inputs | None,
        row: Mapping[str, Any] | None = None,
        label: Answer | None = None,
        stop: Stop | None = None,
    ) -> tuple[Inputs, list[Array], Any, float]:
        """Runs the session on tensors or, where `inputs` is None, on one row by column name, and notes what it cost.

        Returns (inputs, outputs in the manifest's order, the answer as it was noted, seconds). The answer of a row is
        its label or number; of tensors the first output as nested lists, or None beyond `MAX_NOTED_VALUES`.
        Whatever raises is noted as a fault and raised on: BadInput `sample_invalid`, WorldError, the runtime's own.
        Not noted is what `stop` has ended: `Stopped`.
        """
        in_flight, perf_s = self.in_flight, self._perf_s
        value: Any
        in_flight.append(None)
        began_s = perf_s()
        try:
            if inputs is None:
                assert row is not None
                inputs = self.row.arrays(row)
                outputs = self.session.run(inputs)
                value = answer_of(outputs, regression=self.regression)
            else:
                outputs = self.session.run(inputs) if stop is None else self._run_until(inputs, stop)
                first = outputs[0]
                value = first.tolist() if first.size <= MAX_NOTED_VALUES else None
        except Stopped:
            raise
        except Exception as error:  # the runtime's exceptions share no base class
            fault = error.code if isinstance(error, BadInput) else Code.HEALTH_ERRORS
            self.observed.note(perf_s() - began_s, fault, None, None)
            raise
        finally:
            in_flight.pop()
        seconds = perf_s() - began_s
        notes = self._notes
        notes.append((seconds, None, value, label))
        if len(notes) >= MAX_NOTES:
            self.observed.count()
        return inputs, outputs, value, seconds

    def _run_until(self, inputs: Inputs, stop: Stop) -> list[Array]:
        """Runs the session unless `stop` is set; `Stopped` if it was set meanwhile and has ended the inference."""
        if stop.why:
            raise Stopped(stop.why)
        try:
            return self.session.run(inputs, stop)
        except Exception as error:
            if stop.why:
                raise Stopped(stop.why) from error
            raise
        finally:
            stop.ends_by(None)

    def unload(self) -> None:
        """Drops the session at once, though others may still refer to this version; requests to it fail from now on."""
        self.session = _Unloaded()

    def take_interval(self) -> ModelInterval | None:
        """Returns what was inferred since the last call; None if nothing was."""
        interval = self.observed.take_tally()
        if interval is None or self.distribution is None:
            return interval
        features, outputs = self.distribution.take()
        return msgspec.structs.replace(interval, features=features, outputs=outputs)


class ModelSlot:
    """Serves one model. `perf_s` is a monotonic clock in seconds, handed in.

    A swap replaces one reference: an inference that has begun ends on the session it began with. Inferences take no
    lock; `lock`, a context manager, guards the counts made from them.
    """

    def __init__(self, model: str, *, perf_s: Callable[[], float], lock: Any) -> None:
        self.model = model
        self.perf_s = perf_s
        self.lock = lock
        self._serving: Serving | None = None
        self._overlapping: tuple[Serving, ...] = ()
        self.watchers: tuple[Watcher, ...] = ()
        """See every answered inference. Replaced, never changed: other threads read it."""
        self.fallback: Serving | None = None
        """Stable beside a trial: answers requests that are not the trial's or that its dead worker failed."""
        self.split: Split | None = None
        """Which requests the trial answers; None if it answers all."""
        self.due = False
        """Whether a version must serve: one was confirmed here, or is on trial. A newcomer that is being fetched, or
        was rejected, is not due."""

    @property
    def serving(self) -> Serving | None:
        """The version that answers by default; None before the first."""
        return self._serving

    @property
    def versions(self) -> tuple[Serving, ...]:
        """All versions that can be asked; the one that answers by default is first."""
        return tuple(each for each in (self._serving, self.fallback) if each is not None)

    def prepare(self, assignment: Assignment, session: Session, distribution: Distribution | None = None) -> Serving:
        """Returns a loaded version, ready to be swapped in."""
        return Serving(assignment, session, perf_s=self.perf_s, lock=self.lock, distribution=distribution)

    def swap(self, serving: Serving | None) -> Serving | None:
        """Makes `serving` answer from now on; returns the version before it, which is to be drained."""
        before, self._serving = self._serving, serving
        return before

    def answering(self, key: str | bytes) -> Serving | None:
        """Returns the version that answers requests of this key."""
        split, fallback = self.split, self.fallback
        if split is None or fallback is None or split.has(key):
            return self._serving
        return fallback

    def watch_stall(self) -> None:
        """Measures the longest inference from now on: one that overlaps a swap shows what the swap costs."""
        if (serving := self._serving) is not None:
            serving.observed.take_longest_s()
            self._overlapping = (serving,)

    def take_stall_ms(self) -> float:
        """Returns the longest inference since `watch_stall`, in milliseconds, and ends measuring."""
        watched, self._overlapping = {*self._overlapping, self._serving}, ()
        return max((each.observed.take_longest_s() for each in watched if each is not None), default=0.0) * 1000

    def predict(self, sample: Sample) -> Prediction | None:
        """Answers and counts one row; None while nothing serves. Faults are counted and raised as BadInput."""
        serving = self._serving if self.split is None else self.answering(sample.key or repr(sample.values))
        if serving is None:
            return None
        try:
            return self._predict_on(serving, sample)
        except WorldError as error:
            if (fallback := self.fallback) is not None and fallback is not serving:
                return self._predict_on(fallback, sample)
            raise BadInput(Code.SAMPLE_INVALID, f"{error.code}: {error.detail}"[:200]) from error

    def _predict_on(self, serving: Serving, sample: Sample) -> Prediction:
        try:
            inputs, outputs, value, seconds = serving.infer(None, sample.values, sample.label)
        except (BadInput, WorldError):
            raise
        except Exception as error:  # the runtime's exceptions share no base class
            raise BadInput(Code.SAMPLE_INVALID, f"{type(error).__name__}: {error}"[:200]) from error
        manifest = serving.assignment.manifest
        if serving.distribution is not None:
            serving.distribution.see(inputs, outputs)
        for watcher in self.watchers:
            watcher.see_row(manifest, sample.values, outputs, sample.label)
        return Prediction(self.model, manifest.release, value, seconds * 1e6)

    def run(self, inputs: Inputs, key: str = "") -> list[Array]:
        """Returns outputs in the manifest's order, shapes (rows, ...), not copied. WorldError `not_serving`.

        `inputs` are arrays by input name, shapes (rows, ...) and dtypes as in the manifest. Requests of one `key` go to
        one version; without a key the first input's bytes are the key.
        """
        serving = self._serving
        if serving is None:
            raise WorldError(Code.NOT_SERVING, f"{self.model} has no version yet")
        if self.split is not None:
            serving = self.answering(key or next(iter(inputs.values())).tobytes()) or serving
        return self.run_or_fall_back(serving, inputs)[1]

    def run_or_fall_back(
        self, serving: Serving, inputs: Inputs, stop: Stop | None = None
    ) -> tuple[Serving, list[Array]]:
        """Returns outputs as `run` does, and which version gave them: the fallback where the version's own process
        died. WorldError if there is no fallback, `Stopped` by `stop`; raises what the runtime raises, which is counted.
        """
        try:
            outputs = serving.infer(inputs, stop=stop)[1]
        except WorldError:
            if (fallback := self.fallback) is None or fallback is serving:
                raise
            serving = fallback
            outputs = serving.infer(inputs, stop=stop)[1]
        if serving.distribution is not None:
            serving.distribution.see(inputs, outputs)
        for watcher in self.watchers:
            watcher.see_tensors(serving.assignment.manifest, inputs, outputs)
        return serving, outputs

    def take_tally(self) -> ModelInterval | None:
        """Returns what the version that answers by default has inferred since the last call; None if nothing."""
        serving = self._serving
        return None if serving is None else serving.take_interval()
