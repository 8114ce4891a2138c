"""Claims and certificates, in an embedded SQL engine: a claim is used once, however many ask at the same moment.

Decides what is atomic. Claims are kept as hashes. Refuses to know certificates' insides.
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
"""


@dataclass(frozen=True, slots=True)
class Credential:
    """One certificate that was issued."""

    serial: int
    device: str
    public_key: str
    expires: float
    revoked: float | None


class Credentials:
    """One SQLite file in WAL mode with full syncs."""

    def __init__(self, path: Path) -> None:
        self._db = open_database(path, _SCHEMA)

    def add_claim(self, digest: bytes, device: str, expires: float) -> None:
        """Keeps a claim, by its hash."""
        with transaction(self._db):
            self._db.execute("INSERT INTO claims (hash, device, expires) VALUES (?, ?, ?)", (digest, device, expires))

    def use_claim(self, digest: bytes, now: float) -> str | None:
        """The claim's device, once; None for one that is unknown, used or too old."""
        with transaction(self._db):
            row = self._db.execute(
                "UPDATE claims SET used = ? WHERE hash = ? AND used IS NULL AND expires > ? RETURNING device",
                (now, digest, now),
            ).fetchone()
        return str(row[0]) if row else None

    def claim_state(self, digest: bytes, now: float) -> str:
        """Why a claim is refused, for the audit."""
        row = self._db.execute("SELECT device, expires, used FROM claims WHERE hash = ?", (digest,)).fetchone()
        if row is None:
            return "unknown claim"
        device, expires, used = row
        return f"claim of {device}: {'used before' if used is not None else 'expired' if expires <= now else 'good'}"

    def add_certificate(self, credential: Credential) -> None:
        """Keeps what is known of a certificate."""
        row = (hex(credential.serial), credential.device, credential.public_key, credential.expires)
        with transaction(self._db):
            self._db.execute("INSERT INTO certificates (serial, device, public_key, expires) VALUES (?, ?, ?, ?)", row)

    def certificate(self, serial: int) -> Credential | None:
        """A certificate by its serial number."""
        row = self._db.execute(
            "SELECT serial, device, public_key, expires, revoked FROM certificates WHERE serial = ?", (hex(serial),)
        ).fetchone()
        return _credential(row) if row else None

    def revoke(self, device: str, now: float) -> int:
        """Revokes every certificate of a device; how many that were."""
        with transaction(self._db):
            done = self._db.execute(
                "UPDATE certificates SET revoked = ? WHERE device = ? AND revoked IS NULL", (now, device)
            )
            self._db.execute("UPDATE claims SET used = ? WHERE device = ? AND used IS NULL", (now, device))
        return done.rowcount

    def public_keys(self, device: str, now: float) -> list[str]:
        """Keys with which the device may sign now."""
        rows = self._db.execute(
            "SELECT public_key FROM certificates WHERE device = ? AND revoked IS NULL AND expires > ?", (device, now)
        )
        return [str(row[0]) for row in rows]

    def enrolled(self, device: str) -> bool:
        """Whether the device has ever had a certificate: from then on only signed messages count."""
        found = self._db.execute("SELECT 1 FROM certificates WHERE device = ? LIMIT 1", (device,)).fetchone()
        return found is not None

    def revoked(self, now: float) -> list[int]:
        """Serial numbers for the revocation list; expired ones need no place there."""
        rows = self._db.execute("SELECT serial FROM certificates WHERE revoked IS NOT NULL AND expires > ?", (now,))
        return [int(row[0], 16) for row in rows]

    def next_list(self, now: float) -> int:
        """The number of the next revocation list."""
        with transaction(self._db):
            return int(self._db.execute("INSERT INTO lists (at) VALUES (?) RETURNING number", (now,)).fetchone()[0])

    def newest_list_at(self) -> float:
        """When the newest revocation list was made; 0 if none was."""
        return float(self._db.execute("SELECT COALESCE(MAX(at), 0) FROM lists").fetchone()[0])

    def close(self) -> None:
        """Ends the connection."""
        self._db.close()


def _credential(row: tuple[str, str, str, float, float | None]) -> Credential:
    serial, device, public_key, expires, revoked = row
    return Credential(int(serial, 16), device, public_key, expires, revoked)
