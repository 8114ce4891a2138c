"""Pushes that are running: the present step of each, and the fraction that is done.

Decides the steps, their words and their weights. Refuses to know how a step is done; the clock is handed in.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Step = Literal["receive", "wait", "read", "convert", "golden", "measure", "gates", "register"]
STEPS: dict[Step, tuple[str, float]] = {
    "receive": ("receiving it", 0.1),
    "wait": ("waiting for its turn: one conversion runs at a time", 0.0),
    "read": ("starting a confined child and reading the model", 0.15),
    "convert": ("converting it and comparing its answers with the original's", 0.35),
    "golden": ("running the golden set, and making smaller forms", 0.15),
    "measure": ("measuring time and memory of the result", 0.1),
    "gates": ("judging the gates before release", 0.1),
    "register": ("keeping it as a version and signing it", 0.05),
}
"""Words and weight of each step, in their order. The weights are those of a scikit-learn model of 1 MB; a step that
takes longer shows its name without progress.
"""
STEP_FILE = "step.txt"
"""The file in which the child of a conversion writes its present step."""
CHILD_STEPS: tuple[Step, ...] = ("read", "convert", "golden")
FULL = 0.95
"""The largest fraction of a step that is shown as done before its end."""


@dataclass(eq=False)
class UnderWay:
    """One push."""

    model: str
    by: str
    began_at: float
    """Seconds since 1970."""
    clock: Callable[[], float]
    usual_s: float | None = None
    """How long conversion and gates of the model's newest version took; None: it has none."""
    total_bytes: int = 0
    received_bytes: int = 0
    step: Step = "receive"
    entered_at: float = field(init=False)
    directory: Path | None = None
    """The directory of the child that writes its steps."""

    def __post_init__(self) -> None:
        self.entered_at = self.clock()

    def receive(self, received_bytes: int) -> None:
        """Notes the number of received bytes."""
        self.received_bytes = received_bytes

    def enter(self, step: Step) -> None:
        """Notes that a step begins."""
        self.step, self.entered_at = step, self.clock()

    def look(self) -> None:
        """Reads the step that the child has written, if it is a later one."""
        if self.step not in CHILD_STEPS or self.directory is None:
            return
        with suppress(OSError):
            said = (self.directory / STEP_FILE).read_bytes()[:16].decode(errors="replace")
            later = CHILD_STEPS[CHILD_STEPS.index(self.step) + 1 :]
            for step in later:
                if said == step:
                    self.enter(step)

    @property
    def ratio(self) -> float:
        """The fraction that is done, in [0, 1): the weights of the steps before, and a part of the present one."""
        names = list(STEPS)
        before = sum(STEPS[name][1] for name in names[: names.index(self.step)])
        return before + STEPS[self.step][1] * self._within()

    def _within(self) -> float:
        """How much of the present step is done: by bytes while it is received, else by the time it usually takes."""
        if self.step == "receive":
            return min(self.received_bytes / self.total_bytes, 1.0) if self.total_bytes else 0.0
        if not self.usual_s:
            return 0.0
        usual_s = self.usual_s * STEPS[self.step][1] / (1.0 - STEPS["receive"][1])
        return min((self.clock() - self.entered_at) / usual_s, FULL) if usual_s else 0.0


class Pushing:
    """The pushes of one controller. Used within one event loop."""

    def __init__(self) -> None:
        self.all: list[UnderWay] = []
        self.changes = 0
        """The number of pushes that have begun or ended."""

    @contextmanager
    def begin(self, push: UnderWay) -> Iterator[UnderWay]:
        """Lists a push as running until the block ends."""
        self.all.append(push)
        self.changes += 1
        try:
            yield push
        finally:
            self.all.remove(push)
            self.changes += 1
