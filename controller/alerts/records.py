"""Alerts, silences and deliveries as table rows: durable, and read again at a start.

Decides how many are kept. Refuses to know SQL and when rows are written.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

import msgspec

from contract.kept import row_reader
from controller.alerts.alert import Alert, Look
from controller.alerts.muting import MAX_SILENCES, Silence
from controller.alerts.routing import Delivered

TABLES = ("alerts", "ended_alerts", "silences", "delivered_alerts")
"""One row for each alert that is pending or fires, each ended alert, each silence, and each group of a receiver."""
MAX_ENDED = 5_000
"""Ended alerts that are still shown, the newest: 5 MB, half a year with 25 a day."""
MAX_DELIVERED = 10_000
"""Groups of receivers whose last message is known; after that the oldest are dropped, and might be sent again."""

Rows = Mapping[str, Mapping[str, bytes | None]]
T = TypeVar("T")


class Tables(Protocol):
    """Rows by table and key."""

    def rows(self, table: str) -> Mapping[str, bytes]:
        """Returns every row of a table by its key, in the order of insertion."""
        ...

    def write(self, rows: Rows) -> None:
        """Writes these rows in one transaction, or none of them; None removes a row."""
        ...


class AlertRecords:
    """The alerts of one controller. Each change is durable before it can be seen here."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self.active = _read(tables.rows("alerts"), Alert)
        self.ended = _read(tables.rows("ended_alerts"), Alert)
        """Ended alerts by end time and fingerprint, oldest first."""
        self.silences = _read(tables.rows("silences"), Silence)
        self.delivered = _read(tables.rows("delivered_alerts"), Delivered)

    def save(self, look: Look) -> None:
        """Makes the changes of a look durable. WorldError `disk_full`: then nothing has changed, and the next
        evaluation finds it again.
        """
        over = [alert for alert in look.changed if alert.state == "resolved"]
        gone = [*look.gone, *(alert.fingerprint for alert in over)]
        began = [alert for alert in look.changed if alert.state != "resolved"]
        ended = {f"{alert.ends_at:.3f}/{alert.fingerprint}": alert for alert in over}
        old = [*self.ended][: max(0, len(self.ended) + len(ended) - MAX_ENDED)]
        if gone or began:
            self._tables.write(
                {
                    "alerts": {**_rows({alert.fingerprint: alert for alert in began}), **dict.fromkeys(gone)},
                    "ended_alerts": {**_rows(ended), **dict.fromkeys(old)},
                }
            )
        self.active = dict(look.active)
        self.ended.update(ended)
        for key in old:
            self.ended.pop(key, None)

    def resolved(self) -> dict[str, Alert]:
        """Returns the newest end of each alert that has ended and does not fire again, by fingerprint."""
        return {alert.fingerprint: alert for alert in self.ended.values() if alert.fingerprint not in self.active}

    def put_silence(self, silence: Silence, now: float) -> None:
        """Makes a silence durable, in place of an older one with its id."""
        ended = [name for name, each in self.silences.items() if each.state(now) == "expired" and name != silence.id]
        old = ended[: max(0, len(self.silences) + 1 - MAX_SILENCES)]
        self._tables.write({"silences": {**_rows({silence.id: silence}), **dict.fromkeys(old)}})
        self.silences[silence.id] = silence
        for name in old:
            del self.silences[name]

    def put_delivered(self, group: str, delivered: Delivered) -> None:
        """Makes durable what was sent to a receiver; a group whose alerts have all ended is removed."""
        old = [key for key in self.delivered if key != group][: max(0, len(self.delivered) + 1 - MAX_DELIVERED)]
        gone = old if delivered.firing else [*old, group]
        kept = {group: delivered} if delivered.firing else {}
        self._tables.write({"delivered_alerts": {**_rows(kept), **dict.fromkeys(gone)}})
        self.delivered.update(kept)
        for key in gone:
            self.delivered.pop(key, None)

    def all_silences(self) -> Sequence[Silence]:
        """Every silence, newest first."""
        return sorted(self.silences.values(), key=lambda each: each.starts_at, reverse=True)


def _rows(values: Mapping[str, msgspec.Struct]) -> dict[str, bytes | None]:
    return {key: msgspec.json.encode(each) for key, each in values.items()}


def _read(rows: Mapping[str, bytes], kind: type[T]) -> dict[str, T]:
    """Returns rows by key. An unreadable row is left out, because a lost alert is found again."""
    read, found = row_reader(kind), {}
    for key, row in rows.items():
        try:
            found[key] = read(row)
        except msgspec.DecodeError:
            continue
    return found


def newest_first(alerts: Iterable[Alert]) -> list[Alert]:
    """Returns alerts in the order for people: the one that began last comes first."""
    return sorted(alerts, key=lambda alert: (alert.starts_at or alert.since, alert.fingerprint), reverse=True)
