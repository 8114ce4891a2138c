"""Requests to delete captured rows, with what was deleted where and which models were trained on such rows.

Decides that a request is durable before anything is deleted, so that a killed controller continues with it after a
restart. Refuses to know how rows are deleted.
"""

from pathlib import Path

import msgspec

from contract.captured import CapturedRow, LateLabel
from contract.erasure import Erasure
from contract.errors import BadInput, Code
from controller.registry.database import open_database, transaction

MAX_REQUESTS = 10_000
"""The most requests that are kept, including done ones: they document for years what was deleted."""
FILTERED_S = 30 * 86_400
"""Seconds after a request for which its rows are refused if they come again, for example from an old stick. Devices
keep fewer."""
PENDING = -1
"""Rows of a device that has not reported yet that it is done."""
_SCHEMA = "CREATE TABLE IF NOT EXISTS erasures (id TEXT PRIMARY KEY, asked REAL NOT NULL, body BLOB NOT NULL);"


class Trained(msgspec.Struct, frozen=True):
    """A version of a model that was trained on deleted rows."""

    model: str
    release: int
    data_set: str
    run: str = ""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One request to delete captured rows."""

    order: Erasure
    by: str
    reason: str
    asked_at: float
    """Seconds since 1970, as is `done_at`."""
    done_at: float = 0.0
    """When the last device reported that it is done; 0: some have not."""
    only_devices: tuple[str, ...] = ()
    """Devices whose rows are deleted; none named: all."""
    devices: dict[str, int] = {}
    """Rows deleted on each device; -1: it has not answered yet."""
    captured_rows: int = 0
    """Rows deleted from what the controller had captured."""
    data_sets: dict[str, int] = {}
    """Rows deleted from each version of a data set."""
    trained: tuple[Trained, ...] = ()

    @property
    def waiting(self) -> list[str]:
        """Devices that have not answered yet."""
        return sorted(device for device, rows in self.devices.items() if rows == PENDING)

    def refuses(self, device: str, row: CapturedRow) -> bool:
        """Tells whether a new row is one that had to be deleted."""
        if self.only_devices and device not in self.only_devices:
            return False
        return self.order.matches(row) and not (self.done_at and row.at >= self.done_at)

    def refuses_label(self, device: str, label: LateLabel) -> bool:
        """Tells whether a label without a row here may belong to a row that had to be deleted."""
        return not (self.only_devices and device not in self.only_devices) and self.order.may_concern(label)


class Erasures:
    """One SQLite file."""

    def __init__(self, path: Path) -> None:
        self._db = open_database(path, _SCHEMA)

    def close(self) -> None:
        """Closes the connection."""
        self._db.close()

    def save(self, request: Request) -> None:
        """Makes a request durable. BadInput `request_invalid` for too many."""
        with transaction(self._db):
            count = self._db.execute("SELECT COUNT(*) FROM erasures").fetchone()[0]
            if count >= MAX_REQUESTS:
                raise BadInput(Code.REQUEST_INVALID, f"{count} requests are kept, limit {MAX_REQUESTS}")
            self._db.execute(
                "INSERT INTO erasures VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET body = excluded.body",
                (request.order.id, request.asked_at, msgspec.json.encode(request)),
            )

    def all(self) -> list[Request]:
        """Returns every request, newest first."""
        found = self._db.execute("SELECT body FROM erasures ORDER BY asked DESC").fetchall()
        return [msgspec.json.decode(body, type=Request) for (body,) in found]

    def find(self, identifier: str) -> Request:
        """Returns one request. BadInput `request_invalid`."""
        found = self._db.execute("SELECT body FROM erasures WHERE id = ?", (identifier,)).fetchone()
        if found is None:
            words = f"no deletion {identifier[:64]!r}: see `edgeward data deletions`"
            raise BadInput(Code.REQUEST_INVALID, words)
        return msgspec.json.decode(found[0], type=Request)

    def in_force(self, now: float) -> list[Request]:
        """Returns requests whose rows are refused if they come again: open ones, and those of the last days."""
        return [each for each in self.all() if not each.done_at or now - each.asked_at < FILTERED_S]
