"""What of the world is durable, as rows, and the world as it is made again from them.

Decides what a controller that starts again must find, and which rows a change touches: those of devices that have
changed, never the fleet. A row that cannot be read is left aside and named: the controller starts without it.
Refuses to know when rows are written.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from contract.blobs import Blob
from contract.desired import Delivery
from contract.errors import BadInput
from contract.kept import row_reader
from contract.messages import Heartbeat
from contract.names import is_device_name
from contract.said import decode_said
from controller.fleet.twin import Assigned, Twin, fold_heartbeat
from controller.reconcile.old_words import in_words_of_now
from controller.reconcile.ports import Rows, Tables
from controller.reconcile.world import Caches, Durable, Retired, World
from controller.rollout.model import Member, Rollout

TABLES = ("devices", "rollouts", "members", "excluded", "quarantine", "deliveries", "published", "retired")
"""A row a device, a rollout, a member, an excluded device, a device, an encoding, a blob, a device."""
MOVED_TABLES = ("devices", "rollouts", "quarantine", "deliveries", "published")
"""Those that were one JSON file each."""

T = TypeVar("T")


class DesiredSide(msgspec.Struct, frozen=True):
    """The part of a twin that only the controller knows."""

    document_version: int
    issued_at: int
    desired: dict[str, Assigned]
    answered: str
    withdrawn: dict[str, int] = {}


_desired_side = row_reader(DesiredSide)
_quarantine = row_reader(dict[str, str])
_retired = row_reader(Retired)
_member = row_reader(Member)
_rollout = row_reader(Rollout)
_delivery: Callable[[bytes], Delivery | None] = row_reader(Delivery | None)  # type: ignore[arg-type]  # a union is no class
_blob = row_reader(Blob)


def _last_words(body: bytes) -> tuple[Heartbeat, int]:
    return decode_said(body, Heartbeat)


class FleetRecords:
    """The durable world on tables. Remembers which members of rollouts are written, to write only new ones."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._members: dict[str, tuple[Member, ...]] = {}
        self._excluded: dict[str, dict[str, str]] = {}
        self.unreadable: dict[str, str] = {}
        """By table and key, rows that `load_world` could not read, and why."""

    def save(
        self, durable: Durable, devices: Iterable[str], rollouts: Iterable[str], quarantined: Iterable[str]
    ) -> None:
        """Makes the named twins' desired sides, rollouts and quarantines durable, all in one transaction.

        WorldError `disk_full` or `disk_failed`: then nothing of it is.
        """
        changed = [durable.rollouts[name] for name in sorted(rollouts)]
        rows = {
            "devices": device_rows(durable.twins[device] for device in sorted(devices) if device in durable.twins),
            "quarantine": quarantine_rows(durable.quarantine, sorted(quarantined)),
            **self._rollout_rows(changed),
        }
        if any(rows.values()):
            self._tables.write(rows)
        self._written(changed)

    def save_rollouts(self, *rollouts: Rollout) -> None:
        """Makes these rollouts durable, in one transaction."""
        self._tables.write(self._rollout_rows(rollouts))
        self._written(rollouts)

    def lift_quarantine(self, device: str) -> None:
        """Makes durable that every version may be offered to the device again."""
        self._tables.write({"quarantine": {device: None}})

    def retire(self, retired: Mapping[str, Retired]) -> None:
        """Makes durable that these devices are no longer part of the fleet, in one transaction."""
        gone: dict[str, bytes | None] = dict.fromkeys(retired)
        rows = {device: msgspec.json.encode(each) for device, each in retired.items()}
        self._tables.write({"retired": rows, "devices": gone, "quarantine": gone})

    def take_in(self, device: str) -> None:
        """Makes durable that a device that was retired is heard again."""
        self._tables.write({"retired": {device: None}})

    def save_delivery(self, artifact: str, base: str, delivery: Delivery | None) -> None:
        """Makes durable in how few bytes an artifact comes; None where encoding it saves too little."""
        self._tables.write({"deliveries": {f"{artifact}/{base}": msgspec.json.encode(delivery)}})

    def encoded(self) -> frozenset[tuple[str, str]]:
        """(artifact, base) of every encoding that was tried, those that save too little among them."""
        keys = (key.partition("/") for key in self._tables.rows("deliveries"))
        return frozenset((artifact, base) for artifact, _, base in keys)

    def published(self) -> dict[str, Blob]:
        """Blobs that the broker was given, by digest."""
        found = self._tables.rows("published")
        return {digest: _blob(body) for digest, body in found.items()}

    def save_published(self, given: Iterable[Blob], taken_back: Iterable[str] = ()) -> None:
        """Makes durable which blobs the broker has been given, and which (by digest) were taken back."""
        rows: dict[str, bytes | None] = {blob.sha256: msgspec.json.encode(blob) for blob in given}
        rows.update(dict.fromkeys(taken_back))
        if rows:
            self._tables.write({"published": rows})

    def load_world(self, last_words: Mapping[str, bytes], silent_s: float) -> World:
        """The world of a controller that starts: desired sides from the tables, reported ones from last heartbeats.

        `last_words` is each device's last heartbeat as it was encoded.
        """
        retired = self._readable("retired", self._tables.rows("retired"), _retired)
        durable = Durable(
            twins=self._twins({name: words for name, words in last_words.items() if name not in retired}),
            retired=retired,
            rollouts=self._rollouts(),
            quarantine=self._readable("quarantine", self._tables.rows("quarantine"), _quarantine),
            deliveries=self._deliveries(),
        )
        self._written(durable.rollouts.values())
        return World(silent_s=silent_s, durable=durable, caches=Caches(joining=set(durable.twins)))

    def _twins(self, last_words: Mapping[str, bytes]) -> dict[str, Twin]:
        twins: dict[str, Twin] = {}
        said = {device: body for device, body in last_words.items() if self._may_be("last words", device)}
        for device, (words, _) in self._readable("last words", said, _last_words).items():
            twins[device] = replace(fold_heartbeat(Twin(device), words, 0.0), connected=None, seen_at=None)
        rows = {
            device: body for device, body in self._tables.rows("devices").items() if self._may_be("devices", device)
        }
        for device, side in self._readable("devices", rows, _desired_side).items():
            twins[device] = replace(twins.get(device) or Twin(device), **msgspec.structs.asdict(side))
        return twins

    def _may_be(self, table: str, device: str) -> bool:
        """Whether a device may have this name; if not, its row was made before names were checked, and is set aside."""
        if not is_device_name(device):
            self._set_aside(f"{table} {device[:80]!r}", "no device may have this name")
        return is_device_name(device)

    def _readable(self, table: str, rows: Mapping[str, bytes], read: Callable[[bytes], T]) -> dict[str, T]:
        """Rows as `read` gives them. One that cannot be read costs itself: it stays where it is, and is named."""
        found: dict[str, T] = {}
        for key, body in rows.items():
            try:
                found[key] = read(body)
            except (BadInput, msgspec.DecodeError, UnicodeDecodeError) as error:
                self._set_aside(f"{table} {key}", str(error))
        return found

    def _set_aside(self, row: str, why: str) -> None:
        self.unreadable[row] = why

    def _rollouts(self) -> dict[str, Rollout]:
        members: dict[str, list[Member]] = {}
        for key, member in sorted(self._readable("members", self._tables.rows("members"), _member).items()):
            members.setdefault(key.partition("/")[0], []).append(member)
        excluded: dict[str, dict[str, str]] = {}
        for key, body in self._tables.rows("excluded").items():
            name, _, device = key.partition("/")
            excluded.setdefault(name, {})[device] = body.decode()
        return {
            name: replace(rollout, members=tuple(members.get(name, ())), excluded=excluded.get(name, {}))
            for name, rollout in self._readable("rollouts", self._tables.rows("rollouts"), _rollout).items()
        }

    def _deliveries(self) -> dict[str, dict[str, Delivery]]:
        found: dict[str, dict[str, Delivery]] = {}
        for key, delivery in self._readable("deliveries", self._tables.rows("deliveries"), _delivery).items():
            artifact, _, base = key.partition("/")
            if delivery is not None:
                found.setdefault(artifact, {})[base] = delivery
        return found

    def _rollout_rows(self, rollouts: Iterable[Rollout]) -> dict[str, dict[str, bytes]]:
        rows: dict[str, dict[str, bytes]] = {"rollouts": {}, "members": {}, "excluded": {}}
        for rollout in rollouts:
            members, excluded = self._members.get(rollout.id, ()), self._excluded.get(rollout.id, {})
            for table, new in rollout_rows(rollout, members, excluded).items():
                rows[table].update(new)
        return rows

    def _written(self, rollouts: Iterable[Rollout]) -> None:
        self._members.update({rollout.id: rollout.members for rollout in rollouts})
        self._excluded.update({rollout.id: rollout.excluded for rollout in rollouts})


def device_rows(twins: Iterable[Twin]) -> dict[str, bytes]:
    """The desired sides of these twins."""
    return {
        twin.device: msgspec.json.encode(
            DesiredSide(twin.document_version, twin.issued_at, twin.desired, twin.answered, twin.withdrawn)
        )
        for twin in twins
    }


def quarantine_rows(quarantine: Mapping[str, Mapping[str, str]], devices: Iterable[str]) -> dict[str, bytes]:
    """Which digests are kept from these devices."""
    return {device: msgspec.json.encode(quarantine.get(device, {})) for device in devices}


def rollout_rows(
    rollout: Rollout, members: tuple[Member, ...] = (), excluded: Mapping[str, str] | None = None
) -> dict[str, dict[str, bytes]]:
    """A rollout's own row, and a row for each member and each excluded device that is not written as it is now.

    `members` and `excluded` are those that are written. Members are told apart by identity: a rollout that changes
    keeps the members that it has, and a fleet is not compared field by field at every pass.
    """
    known = excluded if excluded is not None else {}
    new = {} if rollout.members is members else dict(_new_members(rollout, members))
    out = {} if rollout.excluded is known else rollout.excluded
    return {
        "rollouts": {rollout.id: msgspec.json.encode(replace(rollout, members=(), excluded={}))},
        "members": new,
        "excluded": {f"{rollout.id}/{d}": reason.encode() for d, reason in out.items() if known.get(d) != reason},
    }


def _new_members(rollout: Rollout, written: tuple[Member, ...]) -> Iterable[tuple[str, bytes]]:
    for place, member in enumerate(rollout.members):
        if place >= len(written) or (written[place] is not member and written[place] != member):
            yield f"{rollout.id}/{place:08d}", msgspec.json.encode(member)


def rows_of_table(table: str, old_docs: Mapping[str, Any]) -> Rows:
    """The rows of a table as it was kept before: one JSON file a table, a document a key, in the words of then."""
    docs = {key: in_words_of_now(doc) for key, doc in old_docs.items()}
    match table:
        case "devices" | "published":
            return {table: {key: msgspec.json.encode(doc) for key, doc in docs.items()}}
        case "quarantine":
            return {table: {key: msgspec.json.encode(doc["digests"]) for key, doc in docs.items()}}
        case "deliveries":
            return {table: {key: msgspec.json.encode(doc["delivery"]) for key, doc in docs.items()}}
        case "rollouts":
            rows: dict[str, dict[str, bytes]] = {"rollouts": {}, "members": {}, "excluded": {}}
            for doc in docs.values():
                for name, new in rollout_rows(msgspec.convert(doc, Rollout)).items():
                    rows[name].update(new)
            return rows
    raise ValueError(f"no table {table!r}")
