"""Captured rows in batches. A batch is first made durable on flash, then sent until the controller acknowledges it.

Decides when a batch is written, sent and sent again. A label that comes before its row is written joins the row here. A
later label is its own record in a later batch, because a batch on flash may have arrived already. Refuses to know
why a row was chosen.
"""

import contextlib
import logging
import math
from collections import Counter, deque
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from agent.flash.spool import Name, Spool
from agent.ports import Link
from agent.uplink.link_age import Settling
from contract import topics
from contract.captured import (
    MAX_BATCH_BYTES,
    MAX_LABELS,
    MAX_ROWS,
    SIGNATURE_CHARS,
    Captured,
    CapturedRow,
    LateLabel,
    sign_row,
)
from contract.erasure import Erasure
from contract.errors import WorldError
from contract.messages import Ack
from contract.protocol import PROTOCOL
from contract.signatures import Sign, sign_message
from contract.wire import decode, encode

RESEND_S = 30.0
"""Seconds after which a batch without an acknowledgement is sent again."""
BATCH_BYTES = 20 * 1024
"""Bytes of rows in a batch: less than the client may hold at a time. A link of 1 kB/s needs 20 s for it, and a link
that is cut after 60 kB can carry it. The controller accepts six times as much."""

_log = logging.getLogger("edgeward.agent")


class Captures:
    """Captured rows of all models on one device. `queues` returns the waiting rows, in one queue for each model, and
    `labels` the later labels.
    """

    def __init__(
        self,
        device: str,
        spool: Spool,
        link: Link,
        *,
        batch_s: float,
        queues: Callable[[], list[deque[CapturedRow]]],
        dropped: Counter[str],
        labels: Callable[[], list[deque[LateLabel]]] = list,
        sign: Sign | None = None,
    ) -> None:
        self._device = device
        self._spool = spool
        self._link = link
        self._batch_s = batch_s
        self._queues = queues
        self._labels = labels
        self._dropped = dropped
        self._sign = sign
        self._batch_at = 0.0
        self._in_flight: Name | None = None
        self._resend_at = math.inf
        self._settling = Settling()
        self._gives_way = False

    def link_up(self, now: float) -> None:
        """Sends batches once the link has settled: requests and reports of a new link are sent first."""
        self._settling.link_up(now)

    def link_down(self, now: float) -> None:
        """Notes that no batch is in flight: the link drops unsent messages, and the oldest batch is sent again."""
        self._settling.link_down(now)
        self._none_in_flight()

    def acknowledged(self, ack: Ack) -> bool:
        """Drops the batch in flight, if `ack` is for that batch; returns whether it is."""
        if self._in_flight != (ack.boot, ack.seq):
            return False
        self._spool.drop((ack.boot, ack.seq))
        self._none_in_flight()
        return True

    def tick(self, now: float, name: Callable[[], Name], *, transfers: bool = False) -> None:
        """Writes the waiting rows when a batch is due. Sends the oldest batch if none is in flight or it is late.

        `transfers`: whether chunks of a model are being received; then no batch is sent.
        """
        if now >= self._batch_at:
            self._batch_at = now + self._batch_s
            while any(taken := self._take()):
                self._write(*taken, name())
        self._gives_way = transfers
        if transfers or now < self._settling.settled_at:
            return
        if self._in_flight is None or now >= self._resend_at:
            self._send_next(now)

    def erase(self, erasures: Sequence[Erasure]) -> dict[str, int]:
        """Deletes the rows that the orders name, from the waiting rows and from flash, durably.

        Returns rows deleted by the id of the order. WorldError `disk_full` or `disk_failed`: some rows may remain.
        A batch that is in flight may have arrived: the controller deletes the rows there.
        """
        erased = {each.id: 0 for each in erasures}
        gone = {answer for each in erasures for answer in each.answers}
        for queue in self._queues():
            for row in list(queue):
                if (order := _order_of(row, erasures)) is not None:
                    with contextlib.suppress(ValueError):  # another thread made room for a new row in the meantime
                        queue.remove(row)
                        erased[order.id] += 1
                        gone.add(row.id)
        for name in self._spool.names():
            self._erase_batch(name, erasures, erased, gone)
        for labels in self._labels():
            for label in [each for each in list(labels) if each.id in gone]:
                with contextlib.suppress(ValueError):  # another thread made room for a new label in the meantime
                    labels.remove(label)
        return erased

    def _erase_batch(self, name: Name, erasures: Sequence[Erasure], erased: dict[str, int], gone: set[str]) -> None:
        """Deletes rows, and labels of rows in `gone`. A label is never in an older batch than its row."""
        if (body := self._spool.read(name)) is None:
            return
        batch = decode(body, Captured, max_bytes=2 * MAX_BATCH_BYTES)
        orders = [_order_of(row, erasures) for row in batch.rows]
        kept = tuple(row for row, order in zip(batch.rows, orders, strict=True) if order is None)
        gone |= {row.id for row, order in zip(batch.rows, orders, strict=True) if order is not None and row.id}
        labels = tuple(label for label in batch.labels if label.id not in gone)
        if len(kept) == len(batch.rows) and len(labels) == len(batch.labels):
            return
        if kept or labels:
            self._spool.rewrite(name, encode(replace(batch, rows=kept, labels=labels)))
        else:
            self._spool.drop(name)
        for order in orders:
            if order is not None:
                erased[order.id] += 1

    def wake_at(self) -> float:
        """Returns when `tick` is due; infinity while no row waits and no batch is to be sent."""
        waiting = any(self._queues()) or any(self._labels())
        write_at = self._batch_at if waiting else math.inf
        if self._gives_way:
            return write_at
        if self._in_flight is None and len(self._spool) > 0:
            return min(write_at, self._settling.settled_at)
        return min(write_at, self._resend_at)

    def _none_in_flight(self) -> None:
        self._in_flight, self._resend_at = None, math.inf

    def _take(self) -> tuple[list[CapturedRow], list[LateLabel]]:
        """Removes and returns as many waiting rows, and labels of other rows, as a batch holds; each of them is far
        smaller than a batch. A label of one of these rows is part of its row.
        """
        rows: list[CapturedRow] = []
        size_bytes = 0
        for queue in self._queues():
            while queue and len(rows) < MAX_ROWS and size_bytes < BATCH_BYTES:
                rows.append(queue.popleft())
                size_bytes += len(encode(rows[-1])) + SIGNATURE_CHARS
        labels: dict[tuple[str, str], LateLabel] = {}
        for waiting in self._labels() if not any(self._queues()) else ():
            while waiting and len(labels) < MAX_LABELS and size_bytes < BATCH_BYTES:
                label = waiting.popleft()
                labels[label.model, label.id] = label
                size_bytes += len(encode(label))
        joined = [_labelled(row, labels.pop((row.model, row.id), None)) for row in rows]
        return joined, list(labels.values())

    def _write(self, rows: list[CapturedRow], labels: list[LateLabel], name: Name) -> None:
        batch = Captured(
            protocol=PROTOCOL,
            device=self._device,
            boot=name[0],
            seq=name[1],
            rows=tuple(rows),
            labels=tuple(labels),
        )
        body = encode(batch)
        try:
            self._dropped["captured_batches"] += self._spool.put(name, body)
        except WorldError as error:
            self._dropped["captured_rows"] += len(rows)
            self._dropped["captured_labels"] += len(labels)
            _log.warning("captured rows are lost: %s", error)

    def _send_next(self, now: float) -> None:
        found = self._spool.oldest()
        if found is None:
            self._none_in_flight()
            return
        self._in_flight, body = found
        self._resend_at = now + RESEND_S
        batch = decode(body, Captured, max_bytes=2 * MAX_BATCH_BYTES)
        signed = replace(batch, rows=tuple(sign_row(row, self._sign) for row in batch.rows))
        self._link.publish(topics.captured(self._device), encode(sign_message(signed, self._sign)))


def _labelled(row: CapturedRow, label: LateLabel | None) -> CapturedRow:
    return row if label is None else replace(row, label=label.label)


def _order_of(row: CapturedRow, erasures: Sequence[Erasure]) -> Erasure | None:
    return next((each for each in erasures if each.matches(row)), None)
