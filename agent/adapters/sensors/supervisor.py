"""Keeps one sensor alive: a source that fails is opened again, after a pause that grows while the source gives no row.

Decides when a source is opened again and what is logged. Refuses to know what a source is. Any exception counts as a
fault of the source, because a sensor whose thread has ended sends nothing until the agent restarts.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator

from agent.ports import Sample
from agent.serving.lives import SensorLife
from contract.errors import BadInput

Row = Sample | BadInput
FIRST_PAUSE_S = 1.0
MAX_PAUSE_S = 60.0
"""Short enough that a cable that is plugged in again, or a file that a person restores, is found within a minute."""
MAX_KINDS = 64
"""The most kinds of faults that are logged, each once, so that an endless series of new kinds does not fill the log."""

_log = logging.getLogger("edgeward.agent")


def tend(
    life: SensorLife,
    open_rows: Callable[[], Iterable[Row]],
    answer: Callable[[Iterable[Row]], None],
    wait: Callable[[float], bool],
    clock: Callable[[], float] = time.perf_counter,
) -> None:
    """Answers rows until the source ends by itself or `wait(seconds)`, which pauses, returns True.

    `open_rows` opens the source, again after each fault; `answer` answers all rows of one opening. `clock` returns the
    monotonic seconds on which `life` is told.
    """
    said: set[str] = set()
    pause_s = FIRST_PAUSE_S
    while not wait(0.0):
        rows_before = life.rows
        try:
            answer(_opened(open_rows, life, clock))
        except Exception as error:  # the sensor's thread must continue after any fault
            _note(life, error, said)
        else:
            break
        if life.rows > rows_before:
            pause_s = FIRST_PAUSE_S
        if wait(pause_s):
            break
        pause_s = min(2 * pause_s, MAX_PAUSE_S)
    life.state = "ended"
    _log.info("the sensor %s of %s has ended", life.name, life.model)


def _opened(open_rows: Callable[[], Iterable[Row]], life: SensorLife, clock: Callable[[], float]) -> Iterator[Row]:
    rows = open_rows()
    life.opened(clock())
    yield from rows


def _note(life: SensorLife, error: Exception, said: set[str]) -> None:
    words = error.detail if isinstance(error, BadInput) else f"{type(error).__name__}: {error}"
    life.failed(words)
    kind = f"{type(error).__name__} {getattr(error, 'code', getattr(error, 'errno', ''))}"
    if kind not in said and len(said) < MAX_KINDS:
        said.add(kind)
        _log.error("the sensor %s of %s: %s; it is opened again", life.name, life.model, words[:500])
