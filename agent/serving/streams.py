"""State that one version keeps between the requests of a stream: the last output is the next input.

Decides which request starts a stream again, and which stream is deleted. All requests with one key are one stream;
a request without a key belongs to none. Refuses to know which version answers, and what state means.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from agent.ports import Array, Inputs
from contract.manifest import StateRules
from contract.recurrent import initial_of

Run = Callable[[Inputs], list[Array]]


class _Turn:
    """The lock of one stream, and how many requests hold it or wait for it."""

    def __init__(self, lock: Any) -> None:
        self.lock = lock
        self.takers = 0


class Streams:
    """The streams of one loaded version. `perf_s` is a monotonic clock in seconds; `new_lock` makes context managers
    that let one request of a stream run at a time. Requests of other streams do not wait for it.
    """

    def __init__(
        self, rules: StateRules, *, perf_s: Callable[[], float], new_lock: Callable[[], Any], dropped: Counter[str]
    ) -> None:
        self._rules = rules
        self._perf_s = perf_s
        self._new_lock = new_lock
        self._lock = new_lock()
        self._turns: dict[str, _Turn] = {}
        """By key, of the streams for which a request runs or waits."""
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
        with self._turn(key):
            with self._lock:
                state = self._next(key)
            outputs = run({**inputs, **state})
            with self._lock:
                self._keep(key, outputs[-len(self._initial) :])
        return self._answered(outputs)

    def forget(self, key: str) -> None:
        """Ends a stream once what runs for it has ended: its next request begins anew."""
        with self._turn(key), self._lock:
            self._kept.pop(key, None)

    @contextmanager
    def _turn(self, key: str) -> Iterator[None]:
        """Waits until no request of this stream runs, and keeps others of it waiting."""
        with self._lock:
            turn = self._turns.setdefault(key, _Turn(self._new_lock()))
            turn.takers += 1
        try:
            with turn.lock:
                yield
        finally:
            with self._lock:
                turn.takers -= 1
                if not turn.takers:
                    del self._turns[key]

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
