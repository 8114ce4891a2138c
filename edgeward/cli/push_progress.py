"""The fraction of a push that was sent, for pushes that take more than a few seconds.

Decides when it is printed: from 5 s on, on a screen after each part, in a pipe a line every 10 s. The clock is
handed in. Refuses to know how bytes are sent.
"""

from collections.abc import Callable
from threading import Event

from contract.errors import EdgewardError
from edgeward.cli.render import size
from edgeward.client import Client

QUIET_S = 5.0
"""Seconds. A shorter push prints nothing."""
LINE_S = 10.0
"""Seconds between two lines of a log."""
LOOK_S = 1.0
"""Seconds between two requests for the controller's present step."""


class PushProgress:
    """Prints the fraction of one push. `show` redraws on a screen; `line` prints a line elsewhere."""

    def __init__(
        self, file: str, clock: Callable[[], float], *, show: Callable[[str], None] | None, line: Callable[[str], None]
    ) -> None:
        self._file = file
        self._clock = clock
        self._show = show
        self._line = line
        self._began = clock()
        self._said_at = float("-inf")
        self._is_whole = False
        self._step = ""

    def sent(self, sent_bytes: int, total_bytes: int) -> None:
        """Notes bytes that were sent."""
        now = self._clock()
        was_whole, self._is_whole = self._is_whole, sent_bytes >= total_bytes
        if was_whole or now - self._began < QUIET_S:
            return
        words = f"sending {self._file}: {sent_bytes * 100 // max(total_bytes, 1)} % of {size(total_bytes)}"
        if self._is_whole:
            words = f"sent {size(total_bytes)}; {self.converting}"
        if self._show is not None:
            self._show(words)
        elif self._is_whole or now - self._said_at >= LINE_S:
            self._line(words)
            self._said_at = now

    @property
    def is_whole(self) -> bool:
        """Whether everything was sent, so that the controller converts."""
        return self._is_whole

    def at_step(self, words: str, ratio: float) -> None:
        """Notes the controller's present step, and the fraction of the push that is done."""
        now = self._clock()
        if now - self._began < QUIET_S:
            return
        said = f"{self._file}: {100 * ratio:.0f} % done, {words}"
        if self._show is not None:
            self._show(said)
        elif words != self._step or now - self._said_at >= LINE_S:
            self._line(said)
            self._said_at, self._step = now, words

    @property
    def converting(self) -> str:
        """Prints the controller's steps after it has all bytes."""
        return f"converting {self._file}: parity, golden set, limits"


def follow(progress: PushProgress, client: Client, model: str, ended: Event) -> None:
    """Requests once a second the step of the newest push of a model, until `ended`.

    If the controller does not answer, or is too old, only these requests end, not the push.
    """
    while not ended.wait(LOOK_S):
        if not progress.is_whole:
            continue
        try:
            mine = [each for each in client.pushes() if each.model == model and each.step != "receive"]
        except EdgewardError:
            return
        if mine:
            progress.at_step(mine[-1].words, mine[-1].ratio)
