"""The slot that serves one model: an atomic reference to a version, and those that watch what it answers.

Decides how a version is swapped and which one answers a request. Refuses to know why a swap happens, and what an
inference notes: `serving` does.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from agent.core.model import Assignment
from agent.ports import Array, Inputs, Sample, Session, Stop, Stopped
from agent.serving.distribution import Distribution
from agent.serving.rows import confidence_of
from agent.serving.serving import Serving
from agent.serving.split import Split
from contract.errors import BadInput, Code, WorldError
from contract.labels import Answer
from contract.manifest import Manifest
from contract.messages import ModelInterval


class Prediction(msgspec.Struct, frozen=True, eq=False, gc=False):
    """One answer, and which version gave it."""

    model: str
    release: int
    value: Answer
    latency_us: float
    id: str = ""
    """Names this answer until its truth is known: hand it to `feedback` with the label."""
    row: Sample | None = None
    """What was asked."""
    outputs: Sequence[Array] = ()
    """All outputs in the manifest's order, shapes (1, ...)."""

    @property
    def confidence(self) -> float | None:
        """The largest probability, in [0, 1]; None where the model gives no probabilities."""
        return confidence_of(self.outputs, 0)


class Watcher(Protocol):
    """Sees inferences. It must be quick and must copy arrays that it keeps: they belong to the caller.

    `outputs` is None where the model failed on what it takes.
    """

    def see_row(
        self,
        manifest: Manifest,
        values: Mapping[str, Any],
        outputs: list[Array] | None,
        label: Answer | None = None,
    ) -> None:
        """Takes a row by column name; `outputs` have shapes (1, ...)."""
        ...

    def see_tensors(self, manifest: Manifest, inputs: Inputs, outputs: list[Array] | None) -> None:
        """Takes tensors; shapes (rows, ...) and dtypes are the manifest's."""
        ...


class ModelSlot:
    """Serves one model. `perf_s` is a monotonic clock in seconds, handed in.

    A swap replaces one reference: an inference that has begun ends on the session it began with. Inferences take no
    lock; `lock`, a context manager, guards the counts made from them.
    """

    def __init__(
        self, model: str, *, perf_s: Callable[[], float], lock: Any, dropped: Counter[str] | None = None
    ) -> None:
        self.model = model
        self.dropped: Counter[str] = Counter() if dropped is None else dropped
        """What limits and faults of watchers discarded, by kind."""
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
        return Serving(
            assignment,
            session,
            perf_s=self.perf_s,
            lock=self.lock,
            distribution=distribution,
            dropped=self.dropped,
        )

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
        manifest = serving.assignment.manifest
        label = None if sample.label is None else serving.settle(sample.label)
        try:
            inputs, outputs, value, seconds = serving.infer(None, sample.values, label)
        except (BadInput, WorldError):
            raise
        except Exception as error:  # the runtime's exceptions share no base class
            self._show_row(serving, sample.values, None, label)
            raise BadInput(Code.SAMPLE_INVALID, f"{type(error).__name__}: {error}"[:200]) from error
        if serving.distribution is not None:
            serving.distribution.see(inputs, outputs)
        if self.watchers:
            self._show_row(serving, sample.values, outputs, label)
        return Prediction(self.model, manifest.release, value, seconds * 1e6)

    def _show_row(
        self, serving: Serving, values: Mapping[str, Any], outputs: list[Array] | None, label: Answer | None
    ) -> None:
        """Shows a row to all watchers; one that cannot take it is no reason not to answer."""
        for watcher in self.watchers:
            try:
                watcher.see_row(serving.assignment.manifest, values, outputs, label)
            except Exception:  # whatever a row holds, it costs this watcher this row
                self.dropped["rows_unwatched"] += 1

    def _show_tensors(self, serving: Serving, inputs: Inputs, outputs: list[Array] | None) -> None:
        """Shows tensors to all watchers, as `_show_row` does."""
        for watcher in self.watchers:
            try:
                watcher.see_tensors(serving.assignment.manifest, inputs, outputs)
            except Exception:  # as above
                self.dropped["rows_unwatched"] += 1

    def run(self, inputs: Inputs, key: str = "") -> list[Array]:
        """Returns outputs in the manifest's order, shapes (rows, ...), not copied. WorldError `not_serving`.

        `inputs` are arrays by input name, shapes (rows, ...) and dtypes as in the manifest. Requests of one `key` go to
        one version; without a key the first input's bytes are the key. BadInput `tensors_invalid`, `value_missing`,
        `value_range` for arrays that the version does not take; raises what the runtime raises for others.
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
        died. WorldError if there is no fallback, `Stopped` by `stop`; BadInput for what the version does not take;
        raises what the runtime raises, which is counted.
        """
        try:
            outputs = serving.infer(inputs, stop=stop)[1]
        except WorldError:
            if (fallback := self.fallback) is None or fallback is serving:
                raise
            serving = fallback
            outputs = serving.infer(inputs, stop=stop)[1]
        except (BadInput, Stopped):
            raise
        except Exception:  # the runtime's exceptions share no base class
            self._show_tensors(serving, inputs, None)
            raise
        if serving.distribution is not None:
            serving.distribution.see(inputs, outputs)
        if self.watchers:
            self._show_tensors(serving, inputs, outputs)
        return serving, outputs

    def take_tally(self) -> ModelInterval | None:
        """Returns what the version that answers by default has inferred since the last call; None if nothing."""
        serving = self._serving
        return None if serving is None else serving.take_interval()
