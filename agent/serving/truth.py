"""The later reports of an application: labels of answers, and numbers that it measures, by name.

Decides for which version and for which minute a label counts. Refuses to know how an answer was made, and how a label
arrives. Any thread may call it.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from agent.core.model import Assignment
from agent.serving.answers import Answers, Kept
from agent.serving.known_classes import is_known, refusal
from agent.serving.label_counts import LabelCounts
from agent.serving.observed import Observed
from contract.errors import BadInput, Code
from contract.labels import LARGEST, Answer, Unusable, same_label, settle_label
from contract.messages import MAX_METRICS, MetricSums, ModelInterval

STRETCH_S = 60.0
"""Seconds of one interval. Labels of answers in the same interval are counted together, and the controller compares the
same intervals."""
MAX_STRETCHES = 1440
"""The most intervals of one model that wait to be sent: a day. After that the oldest is dropped and counted."""
METRIC_IDLE_S = 3600.0
"""Seconds after which a metric without a value gives its place to a new name: whoever has used all names up blocks the
application no longer than this. It is far above the interval of what an application measures again and again."""
METRIC_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,63}\Z")


class Labelled(msgspec.Struct, frozen=True):
    """The effect of a label: the release that had answered, and the rows that were counted."""

    release: int
    rows: int
    rows_unknown: int = 0
    """Rows whose label was of no known class: they still wait for a label."""


class _Stretch(msgspec.Struct):
    counts: LabelCounts
    assignment: Assignment
    at_s: float
    """The sum of the times at which its rows were answered."""
    rows: int = 0


class Truth:
    """Labels and metrics of one model. `perf_s` is the monotonic clock by which the answers are dated."""

    def __init__(self, answers: Answers, lock: Any, *, perf_s: Callable[[], float], dropped: Counter[str]) -> None:
        self._answers = answers
        self._lock = lock
        self._perf_s = perf_s
        self._dropped = dropped
        self._stretches: dict[tuple[int, int], _Stretch] = {}
        self._metrics: dict[int, dict[str, MetricSums]] = {}
        self.follow: Callable[[str, Answer], None] = lambda _id, _label: None
        """The function that is called with the label and the id of a captured row. The part that captures rows sets
        it. Called under the lock."""
        self.results: Counter[str] = Counter()
        """Labels since the agent started: `counted`, `unusable`, `unknown_class`, or the code of a refusal."""
        self.metrics: dict[str, MetricSums] = {}
        """The numbers that the application measured since the agent started, over all versions."""
        self._measured_s: dict[str, float] = {}
        """When each of them had its newest value, longest ago first."""

    def tell(self, name: str, label: Any, observed: Iterable[Observed]) -> Labelled:
        """Counts the label of an answer, or a list with one for each of its rows; None if a label is missing.

        `observed` are those of the loaded versions. BadInput `answer_unknown`, `label_repeated`, `label_invalid`, or
        `label_unknown` if no row has a label of a known class.
        """
        loaded = list(observed)
        for each in loaded:
            each.count()
        with self._lock:
            try:
                return self._tell(name, label, {each.version: each for each in loaded})
            except BadInput as error:
                self.results[str(error.code)] += 1
                raise
            finally:
                self._answers.write()

    def _tell(self, name: str, label: Any, loaded: dict[int, Observed]) -> Labelled:
        rows, waiting = self._answers.find(name)
        labels = label if isinstance(label, list) else [label]
        if len(labels) != rows:
            raise BadInput(Code.LABEL_INVALID, f"answer {name}: {len(labels)} labels for {rows} rows")
        release, counted, unusable = waiting[0].assignment.manifest.release, 0, 0
        unknown: list[str] = []
        versions = list(self._answers.assignments.values())
        for each in waiting:
            regression = each.assignment.manifest.task != "classification"
            settled = settle_label(labels[each.row if len(labels) > 1 else 0], regression=regression)
            if isinstance(settled, Unusable):
                self._stretch(each).counts.labels_unusable += 1
                unusable += 1
            elif settled is not None and not is_known(settled, each.assignment.manifest, versions):
                self._stretch(each).counts.labels_unknown += 1
                unknown.append(refusal(settled, each.assignment.manifest))
            elif settled is not None and self._count(each, settled, loaded.get(each.version)):
                counted += 1
        self.results["unusable"] += unusable
        self.results["counted"] += counted
        if unknown:
            self.results["unknown_class"] += len(unknown)
        if unknown and not counted:
            raise BadInput(Code.LABEL_UNKNOWN, f"the label of answer {name}: {unknown[0]}")
        if not counted:
            words = "a number is needed" if unusable else "it is missing"
            raise BadInput(Code.LABEL_INVALID, f"the label of answer {name}: {words}")
        return Labelled(release, counted, len(unknown))

    def _count(self, kept: Kept, label: Answer, observed: Observed | None) -> bool:
        value, manifest = kept.value, kept.assignment.manifest
        correct = distance = None
        if manifest.task == "classification":
            correct = same_label(value, label)
            self._stretch(kept).counts.add_class(correct=correct)
            if observed is not None and observed.groups is not None:
                observed.groups.judged_later((kept.number, kept.row), value, label)
        elif isinstance(value, str) or abs(value) > LARGEST:
            return False
        else:
            distance = self._stretch(kept).counts.add_number(value, float(label))
        self._answers.labelled(kept)
        if kept.is_captured:
            self.follow(kept.id, label)
        if observed is not None:
            observed.judged_later(kept.at_s, correct, distance, 0.0 if distance is None else float(label))
        return True

    def _stretch(self, kept: Kept) -> _Stretch:
        key = kept.version, int(kept.at_s // STRETCH_S)
        if key not in self._stretches:
            if len(self._stretches) >= MAX_STRETCHES:
                lost = self._stretches.pop(next(iter(self._stretches)))
                self._dropped["labels"] += lost.rows
            self._stretches[key] = _Stretch(LabelCounts(), kept.assignment, 0.0)
        found = self._stretches[key]
        found.at_s += kept.at_s
        found.rows += 1
        return found

    def metric(self, name: str, value: float, version: int) -> None:
        """Counts a number that the application measures, for a version that `Answers` knows. BadInput
        `metric_invalid`.
        """
        if not METRIC_NAME.match(name):
            words = "use up to 64 letters, digits and '_', beginning with no digit"
            raise BadInput(Code.METRIC_INVALID, f"metric {name[:80]!r}: {words}")
        if not isinstance(value, int | float) or not math.isfinite(value) or abs(value) > LARGEST:
            raise BadInput(Code.METRIC_INVALID, f"metric {name}: {value!r:.40} is no finite number")
        with self._lock:
            if name not in self.metrics and len(self.metrics) >= MAX_METRICS:
                self._make_room(name)
            self._measured_s.pop(name, None)
            self._measured_s[name] = self._perf_s()
            found = self._metrics.setdefault(version, {})
            for sums in (found, self.metrics):
                sums[name] = sums.get(name, MetricSums()).plus_value(float(value))

    def _make_room(self, name: str) -> None:
        """Forgets the metric that was unused for longest, if that is long enough and nothing of it waits to be sent."""
        oldest, at_s = next(iter(self._measured_s.items()))
        waits = any(oldest in each for each in self._metrics.values())
        if waits or self._perf_s() - at_s < METRIC_IDLE_S:
            known = ", ".join(sorted(self.metrics))
            raise BadInput(Code.METRIC_INVALID, f"metric {name}: there are {MAX_METRICS} already: {known}"[:500])
        del self.metrics[oldest], self._measured_s[oldest]

    def version_of(self, name: str) -> int:
        """Returns the number of the version that gave an answer. BadInput `answer_unknown`."""
        with self._lock:
            return self._answers.version_of(name)

    def take(self, room: int) -> list[ModelInterval]:
        """Returns the counts that were not returned yet, metrics first: at most `room` entries. The rest waits."""
        now, room, found = self._perf_s(), max(0, room), []
        with self._lock:
            for version in list(self._metrics)[:room]:
                sums = self._metrics.pop(version)
                if (assignment := self._answers.assignments.get(version)) is not None:
                    found.append(_interval(assignment, metrics=sums))
            for key in list(self._stretches)[: room - len(found)]:
                each = self._stretches.pop(key)
                age_s = max(0.0, now - each.at_s / each.rows)
                found.append(_interval(each.assignment, age_s=round(age_s, 1), **each.counts.fields()))
        return found


def _interval(assignment: Assignment, **fields: Any) -> ModelInterval:
    return ModelInterval(model=assignment.model, version=assignment.ref, inferences=0, errors=0, **fields)
