"""State that one version keeps between the requests of a stream: the last output is the next input.

Decides which request starts a stream again, and which stream is deleted. All requests with one key are one stream;
a request without a key belongs to none. Refuses to know which version answers, and what state means.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from agent.ports import Array, Inputs
from contract.manifest import StateRules
from contract.recurrent import initial_of

Run = Callable[[Inputs], list[Array]]


class Streams:
    """The streams of one loaded version. `perf_s` is a monotonic clock in seconds; `lock`, a context manager, lets one
    request with a key run at a time.
    """

    def __init__(self, rules: StateRules, *, perf_s: Callable[[], float], lock: Any, dropped: Counter[str]) -> None:
        self._rules = rules
        self._perf_s = perf_s
        self._lock = lock
        self._dropped = dropped
        self._initial = {each.input: initial_of(each) for each in rules.tensors}
        self._reset_after_s = float(rules.reset_after_s) or float("inf")
        self._kept: dict[str, tuple[float, Inputs]] = {}
        """The time of the newest request and the state by input for each key; the least recently used one is first."""

    def __len__(self) -> int:
        return len(self._kept)

    def run(self, run: Run, inputs: Inputs, key: str) -> list[Array]:
        """Returns the outputs for the caller. `run` gets the state too; if it raises, that is raised, and the
        stream keeps its former state.
        """
        if not key:
            return self._answered(run({**inputs, **self._initial}))
        with self._lock:
            outputs = run({**inputs, **self._next(key)})
            self._keep(key, outputs[-len(self._initial) :])
        return self._answered(outputs)

    def forget(self, key: str) -> None:
        """Ends a stream: its next request starts again."""
        with self._lock:
            self._kept.pop(key, None)

    def _answered(self, outputs: list[Array]) -> list[Array]:
        return outputs[: -len(self._initial)]

    def _next(self, key: str) -> Inputs:
        known = self._kept.get(key)
        if known is None or self._perf_s() - known[0] > self._reset_after_s:
            return self._initial
        return known[1]

    def _keep(self, key: str, states: list[Array]) -> None:
        """Keeps the next state of a stream; a state that cannot be continued starts the stream again."""
        self._kept.pop(key, None)
        pairs = list(zip(self._initial.items(), states, strict=True))
        if not all(_goes_on(before, state) for (_, before), state in pairs):
            self._dropped["streams_broken"] += 1
            return
        self._kept[key] = (self._perf_s(), {name: state for (name, _), state in pairs})
        while len(self._kept) > self._rules.max_keys:
            del self._kept[next(iter(self._kept))]
            self._dropped["streams_forgotten"] += 1


def _goes_on(before: Array, state: Array) -> bool:
    """Whether a state has the same shape as the last one and only finite numbers: NaN would remain in all later
    states.
    """
    if state.shape != before.shape:
        return False
    return state.dtype.kind != "f" or bool(np.isfinite(state).all())
