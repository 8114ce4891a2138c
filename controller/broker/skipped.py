"""The documents and blobs that could not be published, with the reason. The log names each reason once, and each is
tried again after RETRY_S.

Decides when a failed item is tried again, and when the log names it. Refuses to know what is published and how.
"""

import logging
from collections import Counter

from contract.errors import EdgewardError

BLOB = "blob "
"""What the name of a blob begins with; its digest follows."""
RETRY_S = 30.0
"""Seconds until an item is tried again. An attempt reads a whole blob, and a person needs longer than this to
restore a backup.
"""

_log = logging.getLogger("edgeward.retained")


class Skipped:
    """The skipped items by name: at most each device and each blob once. `now` is in seconds of a monotonic clock."""

    def __init__(self) -> None:
        self.why: dict[str, str] = {}
        """The fault by `desired <device>` or `blob <digest>`."""
        self.count = 0
        """The number of failed attempts since the controller started."""
        self._tried_at: dict[str, float] = {}
        self._causes: Counter[str] = Counter()

    def failed(self, name: str, error: EdgewardError, now: float) -> None:
        """Notes a fault. The log names each cause once, because ten thousand devices may wait for one lost version."""
        cause, known = str(error), self.why.get(name)
        self.count += 1
        if not self._causes[cause]:
            _log.error("%s is not published, all that does not depend on it is: %s", name, cause)
        if known != cause:
            self.forget(name)
            self.why[name] = cause
            self._causes[cause] += 1
        self._tried_at[name] = now

    def forget(self, name: str) -> None:
        """Removes an item that is published now, or that no device needs any more."""
        cause = self.why.pop(name, None)
        if cause is not None:
            del self._tried_at[name]
            self._causes -= Counter([cause])

    def keep_only(self, kind: str, names: frozenset[str]) -> None:
        """Removes the items of this kind whose names are not among `names`.

        `kind` is a prefix: `desired ` or `blob `.
        """
        for name in [each for each in self.why if each.startswith(kind) and each.removeprefix(kind) not in names]:
            self.forget(name)

    def rests(self, name: str, now: float) -> bool:
        """Tells whether the item failed less than RETRY_S ago."""
        return name in self._tried_at and now - self._tried_at[name] < RETRY_S

    def due(self, kind: str, now: float) -> set[str]:
        """Returns the names of this kind, without the prefix, that failed and are due for another attempt."""
        return {name.removeprefix(kind) for name in self.why if name.startswith(kind) and not self.rests(name, now)}
