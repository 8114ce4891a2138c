"""A version that repeats the inferences of stable: its answers are compared and judged, and never used.

Decides which inferences it repeats within its budget of time and memory, and how much two answers differ. Refuses
to know the consequences. `see_row` and `see_tensors` are called from any thread, `run` by the agent's own.
"""

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from agent.ports import Array, Inputs
from agent.serving.split import hashed
from contract.desired import TrialPolicy
from contract.distributions import DIVERGENCE_EDGES
from contract.labels import Answer
from contract.manifest import Manifest

if TYPE_CHECKING:
    from agent.serving.serving import Serving

MAX_WAITING = 64
"""Inferences that wait to be repeated; a further one is dropped and counted."""
MAX_VALUES = 64 * 1024
"""The values in one request's inputs; a larger request is not repeated."""
MAX_SLICE_S = 0.05
"""Seconds after which the shadow pauses, so that the agent can do other work."""
AGREEING = 0.1
"""Two numbers agree if they differ by less than this fraction of stable's."""


class _Copy(msgspec.Struct, gc=False):
    inputs: Inputs | None
    values: Mapping[str, Any] | None
    outputs: list[Array] | None
    """None if the other version failed. Its failures are repeated as often as its answers, so that both sides count the
    same rows."""
    label: Answer | None
    key: str = ""


class Compared(msgspec.Struct, frozen=True):
    """How a shadow's answers to some rows compare with stable's."""

    rows: int
    agreed: int
    divergence: tuple[int, ...]


class Shadow:
    """Repeats inferences on `candidate`: the trial on stable's, or by `reverse_share` stable on the trial's.

    `policy` is the trial's. `perf_s` is a monotonic clock in seconds.
    """

    def __init__(
        self, candidate: "Serving", policy: TrialPolicy, *, perf_s: Callable[[], float], dropped: Counter[str]
    ) -> None:
        self.candidate = candidate
        self._repeated_share = float(policy.shadow_share if policy.mode == "shadow" else policy.reverse_share)
        self._pause_ratio = 1.0 / max(float(policy.max_shadow_cpu), 1e-3) - 1.0
        self._perf_s = perf_s
        self._dropped = dropped
        self._salt = candidate.assignment.digest
        self._seen = 0
        self._resume_at = 0.0
        self._waiting: deque[_Copy] = deque()

    def see_row(
        self,
        manifest: Manifest,
        values: Mapping[str, Any],
        outputs: list[Array] | None,
        label: Answer | None = None,
        about: object = None,
    ) -> None:
        """Queues a row that the other version has answered, if `traffic_share` and budget allow. Cells
        may be arrays.
        """
        if manifest is not self.candidate.assignment.manifest and self._takes(
            sum(getattr(cell, "size", 1) for cell in values.values()), _key_of(about)
        ):
            self._waiting.append(_Copy(None, dict(values), outputs, label, _key_of(about)))

    def see_tensors(
        self, manifest: Manifest, inputs: Inputs, outputs: list[Array] | None, about: object = None
    ) -> None:
        """Queues copies of tensors that the other version has answered, shapes (rows, ...), if the fraction and the
        budget allow.
        """
        if manifest is not self.candidate.assignment.manifest and self._takes(
            sum(array.size for array in inputs.values()), _key_of(about)
        ):
            copied = {name: array.copy() for name, array in inputs.items()}
            self._waiting.append(_Copy(copied, None, outputs, None, _key_of(about)))

    def _takes(self, size: int, key: str) -> bool:
        """Whether an inference is repeated: of a model with state, all inferences of a stream or none."""
        self._seen += 1  # two threads may count one number twice: then both rows are taken, or neither
        chosen_by = key.encode() if key and self.candidate.streams is not None else b"%d" % self._seen
        if self._repeated_share < 1.0 and hashed(chosen_by, self._salt) >= self._repeated_share:
            return False
        if size > MAX_VALUES or len(self._waiting) >= MAX_WAITING:
            self._dropped["shadow_inferences"] += 1
            return False
        return True

    def run(self, now: float) -> None:
        """Repeats waiting inferences as long as the budget allows."""
        if not self._waiting or now < self._resume_at:
            return
        began_s = self._perf_s()
        while self._waiting and self._perf_s() - began_s < MAX_SLICE_S:
            self._repeat(self._waiting.popleft())
        self._resume_at = now + (self._perf_s() - began_s) * self._pause_ratio

    def wake_at(self) -> float | None:
        """Returns when the budget allows the next inference; None when none waits."""
        return self._resume_at if self._waiting else None

    def _repeat(self, copy: _Copy) -> None:
        candidate = self.candidate
        try:
            _, outputs, _, _ = candidate.infer(copy.inputs, copy.values, candidate.counted(copy.label), key=copy.key)
        except Exception:  # the runtime's exceptions share no base class; a failed shadow is counted and stops nothing
            return
        if copy.outputs is None:
            return
        compared = compare(copy.outputs, outputs, classifies=candidate.assignment.manifest.task == "classification")
        candidate.observed.compared(compared)


def _key_of(about: object) -> str:
    return getattr(about, "key", "")


def compare(stable: list[Array], shadow: list[Array], *, classifies: bool) -> Compared:
    """Compares outputs row by row; both of shape (rows, ...). Outputs of different shapes agree in no row."""
    before, after = stable[0], shadow[0]
    rows = len(before) if before.ndim else 1
    if before.shape != after.shape:
        return Compared(rows, 0, _spread(np.full(rows, np.inf)))
    if not classifies and before.dtype.kind == "f":
        apart = np.abs(after.astype(np.float64) - before) / np.maximum(np.abs(before.astype(np.float64)), 1e-9)
        apart = np.nan_to_num(apart.reshape(rows, -1).max(axis=1), nan=np.inf)
        return Compared(rows, int((apart < AGREEING).sum()), _spread(apart))
    same = np.asarray(np.asarray(before.astype(np.str_) == after.astype(np.str_)).reshape(rows, -1).all(axis=1))
    return Compared(rows, int(same.sum()), _spread(_probabilities_apart(stable, shadow, same)))


def _probabilities_apart(stable: list[Array], shadow: list[Array], same: Array) -> Array:
    """Returns the largest difference of a probability in each row, float of shape (rows,).

    Without probabilities, shape (rows, classes), it is 0 for the same label and 1 for another.
    """
    both = len(stable) > 1 and len(shadow) > 1 and stable[1].shape == shadow[1].shape and stable[1].ndim == 2
    if both and stable[1].dtype.kind == "f" and len(stable[1]) == len(same):
        return np.asarray(np.nan_to_num(np.abs(stable[1] - shadow[1]).max(axis=1), nan=np.inf))
    return np.where(same, 0.0, 1.0)


def _spread(apart: Array) -> tuple[int, ...]:
    counts = [0] * (len(DIVERGENCE_EDGES) + 1)
    for distance in apart.tolist():
        counts[bisect_left(DIVERGENCE_EDGES, distance)] += 1
    return tuple(counts)
