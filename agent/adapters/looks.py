"""Answers inquiries in its own thread: a doctor's check may wait for a disk, and the worker must not wait.

Decides which checks a running agent makes of itself. Refuses to know where an inquiry came from.
"""

import threading
from collections.abc import Callable, Iterable

from agent.adapters.log_lines import LogLines
from agent.stimuli import LookedInto
from agent.uplink.redaction import Redactor
from contract.inquiries import Inquiry

OWN_CHECKS = frozenset(
    {
        "packages",
        "onnxruntime",
        "root of trust",
        "state directory",
        "clock",
        "certificates",
        "port",
        "sensors",
        "sinks",
        "faults",
    }
)
"""The checks without the check of the broker: a second connection under this name would end the first."""


Doctor = Callable[[frozenset[str]], Iterable[str]]
"""Makes the checks of these names; returns a line for each."""


def no_doctor(_: frozenset[str]) -> Iterable[str]:
    """The checks of a program that makes none."""
    return ("FAIL doctor: this program checks nothing by itself: run edgeward-agent doctor on the device",)


class Looks:
    """Answers inquiries in a thread, one after the other."""

    def __init__(
        self, lines: LogLines, doctor: Doctor, redact: Redactor, enqueue: Callable[[LookedInto], None]
    ) -> None:
        self._lines = lines
        self._doctor = doctor
        self._redact = redact
        self._enqueue = enqueue

    def begin(self, inquiry: Inquiry) -> None:
        """Begins to answer an inquiry; the result comes as `LookedInto`."""
        threading.Thread(target=self._look, args=(inquiry,), name="inquiry", daemon=True).start()

    def _look(self, inquiry: Inquiry) -> None:
        lines = self._lines.newest() if inquiry.what == "logs" else tuple(self._examine())
        self._enqueue(LookedInto(inquiry.id, lines))

    def _examine(self) -> list[str]:
        try:
            return [self._redact(line) for line in self._doctor(OWN_CHECKS)]
        except Exception as error:  # the thread must answer: silence would look like a broken link
            return [self._redact(f"FAIL doctor: {type(error).__name__}: {error}")]
