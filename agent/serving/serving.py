"""One loaded version: its session, and what is measured for each inference.

Decides what is noted of an inference, and whether its arrays or the model caused a failure. Refuses to know which
version answers a request: `slot` does.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np

from agent.core.model import Assignment
from agent.ports import Array, Inputs, Session, Stop, Stopped
from agent.serving.acceptance import acceptance_of, unanswerable
from agent.serving.answers import Answers
from agent.serving.cost import Cost
from agent.serving.distribution import Distribution
from agent.serving.known_classes import is_known
from agent.serving.observed import MAX_NOTES, Observed, noted
from agent.serving.rows import answer_of, count_rows, encoder_of
from agent.serving.streams import Streams
from contract.errors import BadInput, Code, WorldError
from contract.labels import Answer, Unusable, settle_label
from contract.manifest import Manifest
from contract.messages import ModelInterval

_UNKNOWN_CATEGORY = "Unknown Category"
"""The text of onnxruntime's OneHotEncoder for a row that scikit-learn also refuses: the fault is in the row."""

_ONE_ROW = "the model keeps state between requests: a request is one row of one stream"


class _Unloaded:
    """Stands in for a session that was dropped to free its memory."""

    def run(self, inputs: Inputs, stop: Stop | None = None) -> list[Array]:
        raise WorldError(Code.NOT_SERVING, "unloaded: its memory was needed for the version that is being loaded")


def _holds_nan(probabilities: Array, rows: int) -> bool:
    """Whether a row's probabilities, shape (rows, classes), are NaN. In one row all are NaN or none, so the first
    one is enough.
    """
    if rows == 1:
        return math.isnan(probabilities.item(0))
    return bool(np.isnan(probabilities).any())


class Serving:
    """One session in the slot, with its inferences in flight counted so that it can be drained."""

    def __init__(
        self,
        assignment: Assignment,
        session: Session,
        *,
        perf_s: Callable[[], float],
        lock: Any,
        answers: Answers,
        distribution: Distribution | None = None,
        dropped: Counter[str] | None = None,
        private: frozenset[str] = frozenset(),
        streams: Streams | None = None,
    ) -> None:
        manifest = assignment.manifest
        self._perf_s = perf_s
        self.assignment = assignment
        self.session = session
        self.streams = streams
        """What is kept between requests; None of a model without state."""
        self.version = str(manifest.release)
        self.regression = manifest.task == "regression"
        self._classifies = manifest.task == "classification"
        self._gives_probabilities = self._classifies and [
            (each.datatype[:2], len(each.shape)) for each in manifest.outputs[1:2]
        ] == [("FP", 2)]
        """Whether it may answer a class for a row whose probabilities are NaN."""
        self.row = encoder_of(manifest)
        self.acceptance = acceptance_of(manifest)
        self._checks_first = bool(self.acceptance.tied or self.acceptance.texts)
        self.inputs = {tensor.name: tensor for tensor in manifest.inputs}
        self.predecessor: Manifest | None = None
        """Stable's manifest, kept by a trial that accepts other rows: it tells whether stable would accept what the
        trial refuses."""
        self._answers = answers
        self._dropped: Counter[str] = Counter() if dropped is None else dropped
        self.observed = Observed(
            assignment, lock, perf_s=perf_s, answers=answers, dropped=self._dropped, private=private
        )
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
        number: int = 0,
        *,
        key: str = "",
    ) -> tuple[Inputs, list[Array], Any, float]:
        """Runs the session on tensors or, where `inputs` is None, on one row by column name, and notes its time.

        Returns (inputs, outputs in the manifest's order, the answer as it was noted, seconds). The answer of a row
        is its label or number; of tensors the only value of the first output, or what `noted` returns. `label` is a
        settled one (`settle`). Under `number` the answer is kept for a label that
        comes later; 0 for one without an id. Requests of one `key` are a stream, where the model has state. Inputs
        that the version does not accept are counted as refused and raise BadInput. Any other error is noted as a
        fault and raised: WorldError, or the runtime's own. A run that `stop` has ended is not noted: `Stopped`.
        """
        in_flight, perf_s, rows, finite = self.in_flight, self._perf_s, 1, True
        value: Any
        in_flight.append(None)
        began_s = perf_s()
        try:
            if inputs is None:
                assert row is not None
                inputs = self.row.arrays(row)
                outputs = self._run(inputs, None, key)
                value = answer_of(outputs, regression=self.regression)
            else:
                if self._checks_first:
                    self.acceptance.check_first(inputs)
                outputs = self._run(inputs, stop, key)
                first = outputs[0]
                if first.size == 1:
                    value = first.item()
                else:
                    rows = count_rows(inputs)
                    value = noted(first)
                    finite = first.dtype.kind != "f" or bool(np.isfinite(first).all())
        except Stopped:
            raise
        except Exception as error:  # the runtime's exceptions share no base class
            told = self._failed(error, inputs, row, perf_s() - began_s)
            if told is error:
                raise
            raise told from error
        finally:
            in_flight.pop()
        seconds = perf_s() - began_s
        finite = value - value == 0.0 if type(value) is float else finite
        doubtful = outputs[0]
        if self._gives_probabilities and _holds_nan(outputs[1], rows):
            doubtful, finite = outputs[1], False
        if not finite and self._is_unanswerable(inputs, doubtful):
            return inputs, outputs, value, seconds
        notes = self._notes
        notes.append((seconds, None if finite else self._wrong_answer(), value, label, rows, number, began_s))
        if len(notes) >= MAX_NOTES:
            self.observed.count()
        return inputs, outputs, value, seconds

    def _run(self, inputs: Inputs, stop: Stop | None, key: str) -> list[Array]:
        if self.streams is not None:
            return self.streams.run(lambda given: self._run_session(given, stop), inputs, key)
        return self.session.run(inputs) if stop is None else self._run_until(inputs, stop)

    def _run_session(self, inputs: Inputs, stop: Stop | None) -> list[Array]:
        return self.session.run(inputs) if stop is None else self._run_until(inputs, stop)

    def _run_until(self, inputs: Inputs, stop: Stop) -> list[Array]:
        """Runs the session unless `stop` is set. `Stopped` if it was set during the run and has ended the inference."""
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

    def settle(self, label: Any) -> Answer | None:
        """Returns the label in the form of this version's answers; None if it is missing or invalid.

        An invalid label is counted.
        """
        settled = settle_label(label, regression=not self._classifies)
        if isinstance(settled, Unusable):
            self.observed.refuse_label()
            return None
        return settled

    def counted(self, label: Answer | None) -> Answer | None:
        """Returns a settled label if it counts for or against this version. A label of no known class is counted as
        such; then None.
        """
        if label is None or not self._classifies:
            return label
        manifest, versions = self.assignment.manifest, list(self._answers.assignments.values())
        if is_known(label, manifest, versions):
            return label
        self.observed.note_unknown_class()
        return None

    def refuse(self, error: BadInput, takes: Callable[[Manifest], object]) -> None:
        """Counts a request that this version does not accept. `takes` raises BadInput if another version does not
        accept it either.
        """
        alone = False
        if self.predecessor is not None:
            try:
                takes(self.predecessor)
                alone = True
            except BadInput:
                alone = False
        self.observed.refuse(error.code, error.detail, alone=alone)

    def unload(self) -> None:
        """Drops the session at once, though others may still refer to this version; requests to it fail from now on."""
        self.session = _Unloaded()

    def take_interval(self) -> ModelInterval | None:
        """Returns the interval of inferences since the last call; None without inferences."""
        interval = self.observed.take_tally()
        if interval is None or self.distribution is None:
            return interval
        try:
            counts = self.distribution.take()
        except Exception:  # if a distribution cannot be counted, the other measures must still be sent
            self._dropped["distributions_skipped"] += 1
            return interval
        return msgspec.structs.replace(
            interval, features=counts.features, outputs=counts.outputs, breaches=counts.breaches
        )

    def _failed(
        self, error: Exception, inputs: Inputs | None, row: Mapping[str, Any] | None, seconds: float
    ) -> Exception:
        """Counts a failed request, as refused or as a fault; returns the error for the caller."""
        blame: BadInput | None = None
        if isinstance(error, BadInput):
            blame = error
        elif row is None and inputs is not None and not isinstance(error, WorldError):
            blame = self.acceptance.blame(inputs)  # the encoder has made a row's arrays as the manifest says
            if blame is None and self.streams is not None and count_rows(inputs) != 1:
                blame = BadInput(Code.TENSORS_INVALID, _ONE_ROW)
        if blame is None and _UNKNOWN_CATEGORY in str(error):
            words = "a category that the model was not trained on; handle_unknown='ignore' in its encoder takes it"
            self.observed.refuse(Code.VALUE_RANGE, words)
            return BadInput(Code.VALUE_RANGE, words)
        if blame is None:
            self.observed.note(seconds, Code.HEALTH_ERRORS, f"{type(error).__name__}: {error}")
            return error
        if row is not None:
            self.refuse(blame, lambda manifest: encoder_of(manifest).arrays(row))
        elif inputs is not None:
            given = inputs
            self.refuse(blame, lambda manifest: acceptance_of(manifest).check(given))
        return blame

    def _is_unanswerable(self, inputs: Inputs, answers: Array) -> bool:
        """Counts an answer that is not finite as refused if its row caused that; returns whether it did."""
        if answers.dtype.kind != "f" or not unanswerable(inputs, answers):
            return False
        words = "the row holds infinity or NaN, and so does the answer"
        self.observed.refuse(Code.VALUE_RANGE, words)
        return True

    def _wrong_answer(self) -> Code:
        self.observed.fault(Code.HEALTH_OUTPUT, "the answer holds infinity or NaN, and the row does not")
        return Code.HEALTH_OUTPUT
