"""What could not be published, and why: named once, counted, and due again after a while.

Decides how long a fault is left alone, and when the log names it. Refuses to know what is published and how.
"""

import logging
from collections import Counter

from contract.errors import EdgewardError

RETRY_S = 30.0
"""After so long it is tried again: a blob is read whole for that, and a backup takes longer to come back than this."""

_log = logging.getLogger("edgeward.retained")


class Skipped:
    """By name, what was left out: at most each device and each blob once. `now` is in seconds of a steady clock."""

    def __init__(self) -> None:
        self.why: dict[str, str] = {}
        """By `desired <device>` or `blob <digest>`, the fault."""
        self.count = 0
        """Attempts that have failed since the controller started."""
        self._tried_at: dict[str, float] = {}
        self._causes: Counter[str] = Counter()

    def failed(self, name: str, error: EdgewardError, now: float) -> None:
        """Notes a fault. The log says it once for a cause: ten thousand devices may wait for one lost version."""
        cause, known = str(error), self.why.get(name)
        self.count += 1
        if not self._causes[cause]:
            _log.error("%s is not published, what does not need it is: %s", name, cause)
        if known != cause:
            self.forget(name)
            self.why[name] = cause
            self._causes[cause] += 1
        self._tried_at[name] = now

    def forget(self, name: str) -> None:
        """It is published now, or nobody needs it any more."""
        cause = self.why.pop(name, None)
        if cause is not None:
            del self._tried_at[name]
            self._causes -= Counter([cause])

    def keep_only(self, kind: str, names: frozenset[str]) -> None:
        """Forgets those after `kind` that are not among `names`."""
        for name in [each for each in self.why if each.startswith(kind) and each.removeprefix(kind) not in names]:
            self.forget(name)

    def rests(self, name: str, now: float) -> bool:
        """Whether it failed so recently that trying again is too early."""
        return name in self._tried_at and now - self._tried_at[name] < RETRY_S

    def due(self, kind: str, now: float) -> set[str]:
        """Names after `kind` that failed and are due again."""
        return {name.removeprefix(kind) for name in self.why if name.startswith(kind) and not self.rests(name, now)}
