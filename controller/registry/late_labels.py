"""Labels that devices send after their captured rows: each is stored in its row, by device and answer.

Decides that the first label of a row stays, that a label that arrives before its row waits for it, within limits,
and that no label waits for a row that had to be deleted. Refuses to know how rows are stored otherwise: `captures`
does. Called inside its transaction.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import msgspec

from contract.captured import CapturedRow, LateLabel
from contract.erasure import Erasure
from contract.errors import BadInput
from contract.wire import decode, encode

MAX_WAITING = 200_000
"""Labels of all devices that wait for their rows, about 40 MB: usually the row arrives first, unless a device had to
drop it.
"""
MAX_WAITING_PER_DEVICE = 4096
"""Labels of one device that may wait: a device that invents answers cannot displace labels of other devices."""

_ANSWER = "CASE WHEN json_valid(CAST(body AS TEXT)) THEN json_extract(CAST(body AS TEXT), '$.id') END"
"""The answer's id in a row's body; NULL in a damaged one. The index is used only for this exact expression."""
SCHEMA = f"""
CREATE INDEX IF NOT EXISTS captured_answer ON captured (device, {_ANSWER});
CREATE TABLE IF NOT EXISTS waiting_labels (id INTEGER PRIMARY KEY AUTOINCREMENT, device TEXT NOT NULL,
                                           model TEXT NOT NULL, answer TEXT NOT NULL, body BLOB NOT NULL,
                                           UNIQUE (device, answer, model));
"""
_FIND = f"SELECT id, body FROM captured WHERE device = ? AND {_ANSWER} = ? AND model = ? ORDER BY id DESC LIMIT 1"  # noqa: S608 - no word of it comes from outside
_WAIT = "INSERT OR IGNORE INTO waiting_labels (device, model, answer, body) VALUES (?, ?, ?, ?)"
_MET = "DELETE FROM waiting_labels WHERE device = ? AND answer = ? AND model = ? RETURNING body"
_PRUNE_DEVICE = """
DELETE FROM waiting_labels WHERE device = ? AND id NOT IN (
    SELECT id FROM waiting_labels WHERE device = ? ORDER BY id DESC LIMIT ?)
"""
_PRUNE = "DELETE FROM waiting_labels WHERE id IN (SELECT id FROM waiting_labels ORDER BY id LIMIT ?)"


class Refusing(Protocol):
    """A deletion whose labels may come again."""

    def refuses_label(self, device: str, label: LateLabel) -> bool:
        """Tells whether a label may belong to a row that had to be deleted."""
        ...


class LateLabels:
    """Labels without their rows, in the database of the captured rows."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._db = database

    def joined(self, device: str, row: CapturedRow) -> CapturedRow:
        """Returns a new row, with its label if that arrived before."""
        if not row.id or row.label is not None:
            return row
        found = self._db.execute(_MET, (device, row.id, row.model)).fetchall()
        return msgspec.structs.replace(row, label=decode(found[0][0], LateLabel).label) if found else row

    def take(
        self, device: str, labels: Sequence[LateLabel], refused: Iterable[Refusing]
    ) -> Iterator[tuple[int, CapturedRow]]:
        """Takes labels; yields (id, the row with its label) of each row without an earlier label. The other labels
        wait, unless their row may be one that had to be deleted.
        """
        deletions = list(refused)
        for label in labels:
            if (found := self._db.execute(_FIND, (device, label.id, label.model)).fetchone()) is not None:
                if (row := _read(found[1])) is not None and row.label is None:
                    yield found[0], msgspec.structs.replace(row, label=label.label)
            elif label.id and not any(each.refuses_label(device, label) for each in deletions):
                self._db.execute(_WAIT, (device, label.model, label.id, encode(label)))
        if labels:
            self._db.execute(_PRUNE_DEVICE, (device, device, MAX_WAITING_PER_DEVICE))
            count = int(self._db.execute("SELECT COUNT(*) FROM waiting_labels").fetchone()[0])
            self._db.execute(_PRUNE, (max(0, count - MAX_WAITING),))

    def erase(self, order: Erasure, devices: frozenset[str] | None) -> None:
        """Deletes the labels that may belong to rows to be deleted. `devices` None: of all devices."""
        waiting = self._db.execute("SELECT id, device, body FROM waiting_labels WHERE ? IN ('', model)", (order.model,))
        gone = [
            (number,)
            for number, device, body in waiting.fetchall()
            if (devices is None or device in devices) and order.may_concern(decode(body, LateLabel))
        ]
        self._db.executemany("DELETE FROM waiting_labels WHERE id = ?", gone)


def _read(body: bytes) -> CapturedRow | None:
    """Returns a row; None for one that cannot be read any more."""
    try:
        return decode(body, CapturedRow)
    except BadInput:
        return None
