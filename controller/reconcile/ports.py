"""The ports of a pass: inbox, durable tables, history, broker, listener. Service and simulator implement them.

Decides what a pass may rely on. Refuses to know SQL, sockets and files.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from contract.captured import Captured
from contract.messages import Ack, Report
from controller.fleet.vitals import Vitals
from controller.reconcile.deeds import Deed
from controller.reconcile.series import VerdictPoint
from controller.reconcile.world import FromDevice
from controller.rollout.model import Rollout
from controller.telemetry.counts import Counted

Rows = Mapping[str, Mapping[str, bytes | None]]
"""The new content of rows by table and key; None removes a row."""


class Inbox(Protocol):
    """The messages of devices since the last pass."""

    def take(self) -> tuple[list[tuple[str, FromDevice]], list[tuple[str, Captured]]]:
        """Removes and returns all (device, message) and all (device, captured inferences), oldest first."""
        ...


class Tables(Protocol):
    """Rows by table and key."""

    def rows(self, table: str) -> Mapping[str, bytes]:
        """Returns every row of a table by its key."""
        ...

    def write(self, rows: Rows) -> None:
        """Writes these rows in one transaction. WorldError `disk_full` or `disk_failed`: then no row has changed."""
        ...


class History(Protocol):
    """The permanent history of reports of devices and actions of the controller. When a method returns, its data
    are durable; WorldError as for Tables.
    """

    def audit(self, deeds: Sequence[Deed]) -> None:
        """Appends to the audit what a pass did by itself."""
        ...

    def record(self, at: str, history: Iterable[tuple[str, str]], reported: Iterable[tuple[str, bytes]]) -> None:
        """Appends (device, report as JSON) and replaces (device, last heartbeat). `at` is the time in ISO 8601."""
        ...

    def keep_captured(self, batches: Sequence[tuple[str, Captured]]) -> None:
        """Stores each (device, batch of captured inferences)."""
        ...

    def keep_measured(self, measured: Sequence[Counted], verdicts: Sequence[VerdictPoint]) -> None:
        """Stores what devices have measured, each once, and verdicts of the series."""
        ...

    def keep_vitals(self, vitals: Sequence[tuple[str, Vitals]]) -> None:
        """Stores (device, vitals) of intervals that are over; storing twice does no harm."""
        ...


class Broker(Protocol):
    """The broker from which devices read."""

    async def publish(self, devices: frozenset[str], *, again: bool) -> bool:
        """Publishes what these devices need, blobs and trust first. `again`: publishes all retained messages, too.

        Returns False without a connection; the next pass then tries again.
        """
        ...

    def acknowledge(self, device: str, ack: Ack) -> None:
        """Tells a device that one of its messages is durable at the controller, so that it does not send it again."""
        ...


class Listener(Protocol):
    """A receiver of changes that have become durable."""

    def saved(self, rollouts: Sequence[Rollout]) -> None:
        """Receives the rollouts that a pass has changed, in their new state."""
        ...

    def judged(self, points: Sequence[VerdictPoint]) -> None:
        """Receives verdicts that have changed."""
        ...

    def reported(self, reports: Sequence[tuple[str, Report]]) -> None:
        """Receives what devices have reported, as (device, report)."""
        ...
