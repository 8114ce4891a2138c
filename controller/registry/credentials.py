"""Claims and certificates, in an embedded SQL engine: a claim is used once, even by simultaneous requests.

Decides which steps are atomic. Claims are stored as hashes. Refuses to know what is inside certificates.
"""

from dataclasses import dataclass
from pathlib import Path

from controller.registry.database import open_database, transaction

_SCHEMA = """
CREATE TABLE IF NOT EXISTS claims (hash BLOB PRIMARY KEY, device TEXT NOT NULL, expires REAL NOT NULL, used REAL);
CREATE TABLE IF NOT EXISTS certificates (serial TEXT PRIMARY KEY, device TEXT NOT NULL, public_key TEXT NOT NULL,
                                         expires REAL NOT NULL, revoked REAL);
CREATE INDEX IF NOT EXISTS certificates_device ON certificates (device);
CREATE TABLE IF NOT EXISTS lists (number INTEGER PRIMARY KEY, at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS warned (subject TEXT NOT NULL, what TEXT NOT NULL, expires REAL NOT NULL,
                                   days INTEGER NOT NULL, PRIMARY KEY (subject, what, expires, days));
"""
_ADDED = {"authority": "TEXT NOT NULL DEFAULT 'ca'", "issued": "REAL NOT NULL DEFAULT 0", "parent": "TEXT"}
"""Columns of `certificates` that older files lack."""
_COLUMNS = "serial, device, public_key, expires, revoked, authority, issued, parent"
_SUPERSEDED = """
SELECT 1 FROM certificates AS old WHERE old.serial = ? AND (
    EXISTS (SELECT 1 FROM certificates AS next JOIN certificates AS after ON after.parent = next.serial
            WHERE next.parent = old.serial)
    OR EXISTS (SELECT 1 FROM certificates AS other
               WHERE other.device = old.device AND other.parent IS NULL AND other.issued > old.issued))
"""
_RELY = """
SELECT DISTINCT device FROM certificates AS here
WHERE authority = :authority AND revoked IS NULL AND expires > :now AND NOT EXISTS (
    SELECT 1 FROM certificates AS there WHERE there.device = here.device AND there.authority != :authority
                                              AND there.revoked IS NULL AND there.expires > :now)
ORDER BY device
"""
_FORGET = """
DELETE FROM certificates WHERE expires < ? AND EXISTS (
    SELECT 1 FROM certificates AS newer WHERE newer.device = certificates.device
                                              AND newer.rowid > certificates.rowid)
"""
_EXPIRING = f"""
SELECT {_COLUMNS} FROM certificates AS here WHERE revoked IS NULL AND expires < :before AND NOT EXISTS (
    SELECT 1 FROM certificates AS newer WHERE newer.device = here.device AND newer.revoked IS NULL
                                              AND newer.expires > here.expires)
ORDER BY expires LIMIT :limit
"""  # noqa: S608 - columns are named above
MAX_LISTED = 1_000
"""Certificates that one answer holds, newest first."""


@dataclass(frozen=True, slots=True)
class Credential:
    """One certificate that was issued."""

    serial: int
    device: str
    public_key: str
    expires: float
    revoked: float | None
    authority: str = "ca"
    """The name of the authority that issued it."""
    issued: float = 0.0
    parent: int | None = None
    """The serial number of the certificate that it replaces by renewal; None for one that came from a claim."""


class Credentials:
    """One SQLite file in WAL mode with full syncs."""

    def __init__(self, path: Path) -> None:
        self._db = open_database(path, _SCHEMA)
        self._warned = {tuple(row) for row in self._db.execute("SELECT subject, what, expires, days FROM warned")}
        there = {str(row[1]) for row in self._db.execute("PRAGMA table_info(certificates)")}
        for column, kind in _ADDED.items():
            if column not in there:
                self._db.execute(f"ALTER TABLE certificates ADD COLUMN {column} {kind}")

    def add_claim(self, digest: bytes, device: str, expires: float) -> None:
        """Keeps a claim, by its hash."""
        with transaction(self._db):
            self._db.execute("INSERT INTO claims (hash, device, expires) VALUES (?, ?, ?)", (digest, device, expires))

    def use_claim(self, digest: bytes, now: float) -> str | None:
        """Uses a claim and returns its device; None for one that is unknown, used or too old.

        Every other claim of the device ends with it: a second one could take over the name, which is now in use.
        """
        with transaction(self._db):
            row = self._db.execute(
                "UPDATE claims SET used = ? WHERE hash = ? AND used IS NULL AND expires > ? RETURNING device",
                (now, digest, now),
            ).fetchone()
            if row:
                self._db.execute("UPDATE claims SET used = ? WHERE device = ? AND used IS NULL", (now, row[0]))
        return str(row[0]) if row else None

    def claim_state(self, digest: bytes, now: float) -> str:
        """Returns why a claim is refused, for the audit."""
        row = self._db.execute("SELECT device, expires, used FROM claims WHERE hash = ?", (digest,)).fetchone()
        if row is None:
            return "unknown claim"
        device, expires, used = row
        return f"claim of {device}: {'used before' if used is not None else 'expired' if expires <= now else 'good'}"

    def add_certificate(self, credential: Credential) -> None:
        """Stores the facts about a certificate."""
        row = (
            hex(credential.serial), credential.device, credential.public_key, credential.expires, credential.revoked,
            credential.authority, credential.issued, None if credential.parent is None else hex(credential.parent),
        )  # fmt: skip
        with transaction(self._db):
            self._db.execute(f"INSERT INTO certificates ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)  # noqa: S608

    def certificate(self, serial: int) -> Credential | None:
        """Returns a certificate by its serial number."""
        row = self._db.execute(
            f"SELECT {_COLUMNS} FROM certificates WHERE serial = ?",  # noqa: S608 - columns are our own
            (hex(serial),),
        ).fetchone()
        return _credential(row) if row else None

    def certificates(self, subject: str) -> list[Credential]:
        """Returns certificates of a device or service, newest first; with "svc." those of all services, with "" all."""
        rows = self._db.execute(
            f"SELECT {_COLUMNS} FROM certificates WHERE device = ? OR ? = '' OR (? = 'svc.' AND device LIKE 'svc.%') "  # noqa: S608
            "ORDER BY rowid DESC LIMIT ?",
            (subject, subject, subject, MAX_LISTED),
        )
        return [_credential(row) for row in rows]

    def expiring(self, before: float) -> list[Credential]:
        """Returns the valid certificates that expire before, of devices and services with no newer one; earliest end
        first.
        """
        return [_credential(row) for row in self._db.execute(_EXPIRING, {"before": before, "limit": MAX_LISTED})]

    def superseded(self, serial: int) -> bool:
        """Returns whether its device certainly uses a later certificate: by a claim, or by a renewal that was
        itself renewed.

        The next certificate alone proves nothing: the answer with it may have been lost.
        """
        return self._db.execute(_SUPERSEDED, (hex(serial),)).fetchone() is not None

    def rely_on(self, authority: str, now: float) -> list[str]:
        """Returns devices and services whose only valid certificates come from this authority."""
        return [str(row[0]) for row in self._db.execute(_RELY, {"authority": authority, "now": now})]

    def newest_expiries(self, now: float) -> dict[str, float]:
        """Returns when the newest certificate of each device expires, or has expired; not of revoked ones
        and services.
        """
        rows = self._db.execute(
            "SELECT device, MAX(expires) FROM certificates "
            "WHERE revoked IS NULL AND device NOT LIKE 'svc.%' GROUP BY device"
        )
        return {str(device): float(expires) for device, expires in rows}

    def forget_expired(self, before: float) -> None:
        """Deletes certificates that have expired before, except the newest of each device, whose name stays taken."""
        with transaction(self._db):
            self._db.execute(_FORGET, (before,))
            self._db.execute("DELETE FROM warned WHERE expires < ?", (before,))
        self._warned = {row for row in self._warned if row[2] >= before}

    def warn_once(self, subject: str, what: str, expires: float, days: int) -> bool:
        """Returns whether this warning is new, also after restarts; notes that it is given now."""
        row = (subject, what, expires, days)
        if row in self._warned:
            return False
        with transaction(self._db):
            self._db.execute("INSERT INTO warned (subject, what, expires, days) VALUES (?, ?, ?, ?)", row)
        self._warned.add(row)
        return True

    def revoke_serial(self, serial: int, now: float) -> bool:
        """Revokes one certificate; returns whether it was valid before."""
        with transaction(self._db):
            done = self._db.execute(
                "UPDATE certificates SET revoked = ? WHERE serial = ? AND revoked IS NULL", (now, hex(serial))
            )
        return done.rowcount > 0

    def revoke(self, device: str, now: float) -> int:
        """Revokes every certificate of a device; returns their number."""
        with transaction(self._db):
            done = self._db.execute(
                "UPDATE certificates SET revoked = ? WHERE device = ? AND revoked IS NULL", (now, device)
            )
            self._db.execute("UPDATE claims SET used = ? WHERE device = ? AND used IS NULL", (now, device))
        return done.rowcount

    def public_keys(self, device: str, now: float) -> list[str]:
        """Returns the keys with which the device may sign now."""
        rows = self._db.execute(
            "SELECT public_key FROM certificates WHERE device = ? AND revoked IS NULL AND expires > ?", (device, now)
        )
        return [str(row[0]) for row in rows]

    def held(self, device: str, expired_after: float) -> bool:
        """Returns whether the device has an unrevoked certificate that ends, or has ended, after a moment."""
        found = self._db.execute(
            "SELECT 1 FROM certificates WHERE device = ? AND revoked IS NULL AND expires > ? LIMIT 1",
            (device, expired_after),
        ).fetchone()
        return found is not None

    def enrolled(self, device: str) -> bool:
        """Returns whether the device has ever had a certificate: after that only signed messages are accepted."""
        found = self._db.execute("SELECT 1 FROM certificates WHERE device = ? LIMIT 1", (device,)).fetchone()
        return found is not None

    def claimed(self, device: str) -> bool:
        """Returns whether a claim was ever made for the device."""
        found = self._db.execute("SELECT 1 FROM claims WHERE device = ? LIMIT 1", (device,)).fetchone()
        return found is not None

    def revoked(self, now: float, authority: str = "ca") -> list[int]:
        """Returns serial numbers for the revocation list of an authority; expired ones need not be listed."""
        rows = self._db.execute(
            "SELECT serial FROM certificates WHERE revoked IS NOT NULL AND expires > ? AND authority = ?",
            (now, authority),
        )
        return [int(row[0], 16) for row in rows]

    def next_list(self, now: float) -> int:
        """Returns the number of the next revocation list."""
        with transaction(self._db):
            return int(self._db.execute("INSERT INTO lists (at) VALUES (?) RETURNING number", (now,)).fetchone()[0])

    def newest_list_at(self) -> float:
        """Returns when the newest revocation list was made; 0 if none was."""
        return float(self._db.execute("SELECT COALESCE(MAX(at), 0) FROM lists").fetchone()[0])

    def close(self) -> None:
        """Ends the connection."""
        self._db.close()


def _credential(row: tuple[str, str, str, float, float | None, str, float, str | None]) -> Credential:
    serial, device, public_key, expires, revoked, authority, issued, parent = row
    above = None if parent is None else int(parent, 16)
    return Credential(int(serial, 16), device, public_key, expires, revoked, authority, issued, above)
