"""What a pass needs from outside: durable tables, a journal, a broker. The simulator has its own of each.

Decides what a pass may rely on. Refuses to know SQL, sockets and files.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from contract.captured import Captured
from contract.messages import Ack, Report
from controller.reconcile.world import FromDevice
from controller.rollout.model import Rollout

Rows = Mapping[str, Mapping[str, bytes | None]]
"""By table and key: the new content of a row, None to remove it."""


class Inbox(Protocol):
    """What devices have said since the last pass."""

    def take(self) -> tuple[list[tuple[str, FromDevice]], list[tuple[str, Captured]]]:
        """(device, message) and (device, captured inferences), oldest first; they are gone from the inbox."""
        ...


class Tables(Protocol):
    """Rows by table and key."""

    def rows(self, table: str) -> Mapping[str, bytes]:
        """Every row of a table by its key."""
        ...

    def write(self, rows: Rows) -> None:
        """Writes all of these rows in one transaction; WorldError `disk_full` or `disk_failed`: then none of them."""
        ...


class History(Protocol):
    """What devices have said, for good. What its verbs have returned from is durable; WorldError as for Tables."""

    def record(self, at: str, history: Iterable[tuple[str, str]], reported: Iterable[tuple[str, bytes]]) -> None:
        """Appends (device, report as JSON) and replaces (device, last heartbeat)."""
        ...

    def keep_captured(self, batches: Sequence[tuple[str, Captured]]) -> None:
        """Keeps (device, batch of inferences)."""
        ...


class Broker(Protocol):
    """What devices read."""

    async def publish(self, devices: frozenset[str], *, again: bool) -> bool:
        """Publishes what these devices need, blobs and trust first; all that is retained too if `again`.

        False: there is no connection now, and the next pass asks once more.
        """
        ...

    def acknowledge(self, device: str, ack: Ack) -> None:
        """Tells a device that a message of its own is durable here: it forgets the message."""
        ...


class Listener(Protocol):
    """Is told what has become durable."""

    def saved(self, rollouts: Sequence[Rollout]) -> None:
        """Rollouts that a pass has changed, as they stand now."""
        ...

    def reported(self, reports: Sequence[tuple[str, Report]]) -> None:
        """What devices have reported of themselves, as (device, report)."""
        ...
