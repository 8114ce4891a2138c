"""The slot that serves one model: an atomic reference to a version, and the objects that watch its answers.

Decides how a version is swapped and which one answers a request. Refuses to know why a swap happens, and what an
inference notes: `serving` does.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Protocol

import msgspec

from agent.core.model import Assignment
from agent.ports import Array, Inputs, Sample, Session, Stop, Stopped
from agent.serving.answers import Answers
from agent.serving.distribution import Distribution
from agent.serving.kept_answers import KeptAnswers
from agent.serving.rows import confidence_of
from agent.serving.serving import Serving
from agent.serving.split import Split
from agent.serving.streams import Streams
from agent.serving.truth import Labelled, Truth
from contract.errors import BadInput, Code, WorldError
from contract.labels import Answer
from contract.manifest import Manifest
from contract.messages import ModelInterval


class Prediction(msgspec.Struct, frozen=True, eq=False, gc=False):
    """One answer, and the version that gave it."""

    model: str
    release: int
    value: Answer
    latency_us: float
    id: str = ""
    """The id of this answer until its label is known: pass it to `feedback` with the label."""
    row: Sample | None = None
    """The row of the request."""
    outputs: Sequence[Array] = ()
    """All outputs in the manifest's order, shapes (1, ...)."""
    manifest: Manifest | None = None
    """Describes the version that answered."""

    @property
    def confidence(self) -> float | None:
        """The largest probability, in [0, 1]; None if the model gives no probabilities."""
        return confidence_of(self.outputs, 0)


class Asked(msgspec.Struct, frozen=True, eq=False, gc=False):
    """One answer to tensors, and the version that gave it."""

    id: str
    """The id of the answer until its labels are known: pass it to `feedback` with a label for each row."""
    release: int
    outputs: list[Array]
    """The outputs in the manifest's order, shapes (rows, ...), not copied."""


class About(msgspec.Struct, frozen=True, gc=False):
    """Facts about an answer besides its inputs and outputs. Each may be empty."""

    id: str = ""
    key: str = ""
    """The person or thing that the request is about."""
    file: str = ""


NOTHING = About()


class Watcher(Protocol):
    """Sees inferences. It must be quick and must copy arrays that it keeps: they belong to the caller.

    `outputs` is None if the model failed on inputs that it accepts.
    """

    def see_row(
        self,
        manifest: Manifest,
        values: Mapping[str, Any],
        outputs: list[Array] | None,
        label: Answer | None = None,
        about: About = NOTHING,
    ) -> None:
        """Takes a row by column name; `outputs` have shapes (1, ...)."""
        ...

    def see_tensors(
        self, manifest: Manifest, inputs: Inputs, outputs: list[Array] | None, about: About = NOTHING
    ) -> None:
        """Takes tensors; shapes (rows, ...) and dtypes are the manifest's."""
        ...


class ModelSlot:
    """Serves one model. `perf_s` is a monotonic clock in seconds, handed in.

    A swap replaces one reference: an inference that has begun ends on the session it began with. Inferences take no
    lock; `lock`, a context manager, guards the counts made from them. `prefix` begins the ids of its answers, which
    `kept_answers` keeps beyond the end of the process. `new_lock` makes the locks of a version that keeps state: each
    of its streams runs one request at a time.
    """

    def __init__(
        self,
        model: str,
        *,
        perf_s: Callable[[], float],
        lock: Any,
        dropped: Counter[str] | None = None,
        prefix: str = "0-0-",
        new_lock: Callable[[], Any] = nullcontext,
        kept_answers: KeptAnswers | None = None,
    ) -> None:
        self.model = model
        self.dropped: Counter[str] = Counter() if dropped is None else dropped
        """What limits and faults of watchers discarded, by kind."""
        self.perf_s = perf_s
        self.lock = lock
        self._new_lock = new_lock
        self.answers = Answers(prefix, kept_answers)
        self.truth = Truth(self.answers, lock, perf_s=perf_s, dropped=self.dropped)
        self._serving: Serving | None = None
        self._overlapping: tuple[Serving, ...] = ()
        self.watchers: tuple[Watcher, ...] = ()
        """They see every answered inference. The tuple is replaced and never modified, because other threads read
        it."""
        self.fallback: Serving | None = None
        """Stable beside a trial: answers requests that are not the trial's or that its dead worker failed."""
        self.split: Split | None = None
        """Which requests the trial answers; None if it answers all."""
        self.private: frozenset[str] = frozenset()
        """Columns whose values never leave this device, not even as names of groups."""
        self.due = False
        """Whether a version must serve: one was confirmed here, or is on trial. A first version that is being
        fetched, or was rejected, need not serve.
        """

    @property
    def serving(self) -> Serving | None:
        """The version that answers by default; None before the first."""
        return self._serving

    @property
    def versions(self) -> tuple[Serving, ...]:
        """All versions that can be asked; the one that answers by default comes first."""
        return tuple(each for each in (self._serving, self.fallback) if each is not None)

    def prepare(
        self,
        assignment: Assignment,
        session: Session,
        distribution: Distribution | None = None,
        streams: Streams | None = None,
    ) -> Serving:
        """Returns a loaded version, ready to be swapped in; `streams` continue where it was loaded before."""
        rules = assignment.manifest.state
        if streams is None and rules is not None:
            streams = Streams(rules, perf_s=self.perf_s, new_lock=self._new_lock, dropped=self.dropped)
        return Serving(
            assignment,
            session,
            perf_s=self.perf_s,
            lock=self.lock,
            answers=self.answers,
            distribution=distribution,
            dropped=self.dropped,
            private=self.private,
            streams=streams,
        )

    def swap(self, serving: Serving | None) -> Serving | None:
        """Makes `serving` answer from now on; returns the version before it, which still answers the requests that
        it has begun.
        """
        before, self._serving = self._serving, serving
        return before

    def answering(self, key: str | bytes) -> Serving | None:
        """Returns the version that answers requests of this key."""
        split, fallback = self.split, self.fallback
        if split is None or fallback is None or split.has(key):
            return self._serving
        return fallback

    def watch_stall(self) -> None:
        """Begins to measure the longest inference: an inference during a swap shows how long the swap delays it."""
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
        manifest, number = serving.assignment.manifest, self.answers.next_number()
        label = None if sample.label is None else serving.settle(sample.label)
        counted = None if label is None else serving.counted(label)
        try:
            inputs, outputs, value, seconds = serving.infer(None, sample.values, counted, None, number, key=sample.key)
        except (BadInput, WorldError):
            raise
        except Exception as error:  # the runtime's exceptions share no base class
            self._show_row(serving, sample, None, label)
            raise BadInput(Code.SAMPLE_INVALID, f"{type(error).__name__}: {error}"[:200]) from error
        if serving.distribution is not None:
            serving.distribution.see(inputs, outputs)
        if serving.observed.groups is not None:
            serving.observed.see_group(number, sample.values, value, counted)
        name = self.answers.name(number)
        if self.watchers:
            self._show_row(serving, sample, outputs, label, name)
        return Prediction(self.model, manifest.release, value, seconds * 1e6, name, sample, outputs, manifest)

    def _show_row(
        self, serving: Serving, sample: Sample, outputs: list[Array] | None, label: Answer | None, name: str = ""
    ) -> None:
        """Passes a row to all watchers; the row is answered even if a watcher fails."""
        for watcher in self.watchers:
            try:
                about = About(name, sample.key, sample.file)
                watcher.see_row(serving.assignment.manifest, sample.values, outputs, label, about)
            except Exception:  # a bad row is lost for this watcher alone
                self.dropped["rows_unwatched"] += 1

    def _show_tensors(self, serving: Serving, inputs: Inputs, outputs: list[Array] | None, about: About) -> None:
        """Passes tensors to all watchers, as `_show_row` does."""
        for watcher in self.watchers:
            try:
                watcher.see_tensors(serving.assignment.manifest, inputs, outputs, about)
            except Exception:  # bad tensors are lost for this watcher alone
                self.dropped["rows_unwatched"] += 1

    def run(self, inputs: Inputs, key: str = "") -> list[Array]:
        """Returns outputs in the manifest's order, shapes (rows, ...), not copied. WorldError `not_serving`.

        `inputs` are arrays by input name, shapes (rows, ...) and dtypes as in the manifest. Requests of one `key` go to
        one version, and are a stream where the model has state; without a key the first input's bytes choose the
        version, and a request stands alone. BadInput `tensors_invalid`, `value_missing`,
        `value_range` for arrays that the version does not accept; raises what the runtime raises for others.
        """
        serving = self._serving
        if serving is None or self.split is not None:
            serving = self._chosen(inputs, key)
        return self.run_or_fall_back(serving, inputs, None, key)[1]

    def ask(self, inputs: Inputs, key: str = "") -> Asked:
        """Returns what `run` returns with the answer's id, under which the answer is kept for its label. It takes 0.5
        us more.
        """
        number = self.answers.next_number()
        serving, outputs = self.run_or_fall_back(self._chosen(inputs, key), inputs, None, key, number)
        return Asked(self.answers.name(number), serving.assignment.manifest.release, outputs)

    def _chosen(self, inputs: Inputs, key: str) -> Serving:
        """Returns the version that answers a request of this key. WorldError `not_serving`."""
        serving = self._serving
        if serving is None:
            raise WorldError(Code.NOT_SERVING, f"{self.model} has no version yet")
        if self.split is None:
            return serving
        return self.answering(key or _key_of(inputs)) or serving

    def run_or_fall_back(
        self, serving: Serving, inputs: Inputs, stop: Stop | None = None, key: str = "", number: int = 0
    ) -> tuple[Serving, list[Array]]:
        """Returns outputs as `run` does, and which version gave them: the fallback if the version's own process died.
        The answer is kept under `number`, unless that is 0. WorldError if there is no fallback, `Stopped` by `stop`;
        BadInput for arrays that the version does not accept; raises what the runtime raises, which is counted.
        """
        try:
            outputs = serving.infer(inputs, None, None, stop, number, key=key)[1]
        except WorldError:
            if (fallback := self.fallback) is None or fallback is serving:
                raise
            serving = fallback
            outputs = serving.infer(inputs, None, None, stop, number, key=key)[1]
        except (BadInput, Stopped):
            raise
        except Exception:  # the runtime's exceptions share no base class
            self._show_tensors(serving, inputs, None, NOTHING)
            raise
        if serving.distribution is not None:
            serving.distribution.see(inputs, outputs)
        if serving.observed.groups is not None:
            serving.observed.see_groups(number, inputs, outputs[0])
        if self.watchers:
            self._show_tensors(serving, inputs, outputs, About(self.answers.name(number) if number else "", key))
        return serving, outputs

    def feedback(self, name: str, label: Any) -> Labelled:
        """Counts the label of an answer, for the version that gave it. BadInput `answer_unknown`, `label_repeated`,
        `label_invalid`, `label_unknown`.

        `name` is the answer's id. `label` is one label, or a list with one for each row, None if it is missing.
        """
        return self.truth.tell(name, label, [each.observed for each in self.versions])

    def gave(self, name: str) -> bool:
        """Whether this model gave the answer of an id, since the agent has started or before."""
        with self.lock:
            return self.answers.gave(name)

    def keep_answers(self) -> None:
        """Writes all answers so far, so that they are kept after the process ends, if they are to be kept."""
        if self.answers.is_kept:
            for each in self.versions:
                each.observed.count()

    def note_captured(self, name: str) -> None:
        """Notes that the row of this id was captured: its label must be sent as well."""
        with self.lock:
            self.answers.note_captured(name)

    def metric(self, name: str, value: float, answer: str = "") -> None:
        """Counts a number that the application measures for the version that gave `answer`, an id, or that serves now.

        BadInput `metric_invalid`, `answer_unknown`; WorldError `not_serving`.
        """
        if answer:
            self.truth.metric(name, value, self.truth.version_of(answer))
            return
        serving = self._serving
        if serving is None:
            raise WorldError(Code.NOT_SERVING, f"{self.model} has no version yet")
        if self.split is not None:
            words = "two versions answer now: name the id of the answer that it belongs to"
            raise BadInput(Code.METRIC_INVALID, f"metric {name[:64]}: {words}")
        self.truth.metric(name, value, serving.observed.version)

    def take_tally(self) -> ModelInterval | None:
        """Returns the interval of the version that answers by default since the last call; None without inferences."""
        serving = self._serving
        return None if serving is None else serving.take_interval()


def _key_of(inputs: Inputs) -> str | bytes:
    """Returns the first input's content as a key, the same in every process; empty if it is no array.

    The bytes of an array of texts are addresses in memory.
    """
    try:
        first = next(iter(inputs.values()))
        return repr(first.tolist()) if first.dtype.hasobject else first.tobytes()
    except (AttributeError, StopIteration, TypeError):
        return ""
