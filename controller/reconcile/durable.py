"""The durable part of the world as table rows, and the world that is made from these rows at a start.

Decides which facts a restarted controller must have, and which rows a change writes: those of changed devices,
never the whole fleet. A row that cannot be read is skipped and named in `unreadable`. Refuses to know when rows are
written.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from contract.blobs import Blob
from contract.desired import Delivery
from contract.erasure import Erasure
from contract.errors import BadInput
from contract.kept import row_reader
from contract.messages import Heartbeat, Report
from contract.names import is_device_name
from contract.remote_config import RemoteConfig
from contract.said import decode_said
from controller.fleet.boots import of_past
from controller.fleet.exclusion import Exclusion
from controller.fleet.pin import Pin
from controller.fleet.twin import Assigned, Twin, fold_heartbeat, fold_report, with_given_labels
from controller.reconcile.old_words import exclusion_of, in_words_of_now, with_exclusions
from controller.reconcile.ports import Rows, Tables
from controller.reconcile.world import Caches, Durable, Retired, World
from controller.rollout.endings import Ending
from controller.rollout.model import Member, Rollout
from controller.written import Written

TABLES = ("devices", "rollouts", "members", "excluded", "endings", "quarantine", "deliveries", "published", "retired")
"""One row for each device, rollout, member, excluded device, ending of a member, device, encoding, blob, device."""
MOVED_TABLES = ("devices", "rollouts", "quarantine", "deliveries", "published")
"""The tables that an older version kept as one JSON file each."""

T = TypeVar("T")


class DesiredSide(msgspec.Struct, frozen=True):
    """The part of a twin that only the controller has."""

    document_version: int
    issued_at: int
    desired: dict[str, Assigned]
    answered: str
    past_boots: tuple[tuple[int, int], ...] = ()
    """(id, highest number) of earlier starts of its agent: their messages are never counted as new."""
    withdrawn: dict[str, int] = {}
    given_labels: dict[str, str] = {}
    note: Written | None = None
    config: RemoteConfig | None = None
    erasures: tuple[Erasure, ...] = ()
    pins: dict[str, Pin] = {}


_desired_side = row_reader(DesiredSide)
_quarantine = row_reader(dict[str, str])
_retired = row_reader(Retired)
_member = row_reader(Member)
_ending = row_reader(Ending)
_rollout = row_reader(Rollout)
_delivery: Callable[[bytes], Delivery | None] = row_reader(Delivery | None)  # type: ignore[arg-type]  # a union is no class
_blob = row_reader(Blob)


def _last_words(body: bytes) -> tuple[Heartbeat, int]:
    return decode_said(body, Heartbeat)


class FleetRecords:
    """The durable world in tables. It knows which members of rollouts are written, so that it writes only new ones."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._members: dict[str, tuple[Member, ...]] = {}
        self._excluded: dict[str, dict[str, Exclusion]] = {}
        self.unreadable: dict[str, str] = {}
        """The reasons why `load_world` could not read rows, by table and key."""

    def save(
        self,
        durable: Durable,
        devices: Iterable[str],
        rollouts: Iterable[str],
        quarantined: Iterable[str],
        endings: Iterable[tuple[str, str]] = (),
    ) -> None:
        """Makes the named twins' desired sides, rollouts, quarantines and endings (by rollout and device) durable, all
        in one transaction.

        WorldError `disk_full` or `disk_failed`: then none of them is durable.
        """
        changed = [durable.rollouts[name] for name in sorted(rollouts)]
        rows: Rows = {
            "devices": device_rows(durable.twins[device] for device in sorted(devices) if device in durable.twins),
            "quarantine": quarantine_rows(durable.quarantine, sorted(quarantined)),
            "endings": {
                f"{name}/{device}": msgspec.json.encode(durable.endings[name][device])
                for name, device in sorted(endings)
            },
            **self._rollout_rows(changed),
        }
        if any(rows.values()):
            self._tables.write(rows)
        self._written(changed)

    def save_rollouts(self, *rollouts: Rollout) -> None:
        """Makes these rollouts durable, in one transaction."""
        self._tables.write(self._rollout_rows(rollouts))
        self._written(rollouts)

    def save_twins(self, twins: Iterable[Twin]) -> None:
        """Makes the controller's side of these twins durable, in one transaction, before anybody acts on them."""
        self._tables.write({"devices": device_rows(twins)})

    def lift_quarantine(self, *devices: str) -> None:
        """Makes durable that every version may be offered to these devices again, in one transaction."""
        self._tables.write({"quarantine": dict.fromkeys(devices)})

    def retire(self, retired: Mapping[str, Retired]) -> None:
        """Makes durable that these devices are no longer part of the fleet, in one transaction."""
        gone: dict[str, bytes | None] = dict.fromkeys(retired)
        rows = {device: msgspec.json.encode(each) for device, each in retired.items()}
        self._tables.write({"retired": rows, "devices": gone, "quarantine": gone})

    def take_in(self, device: str) -> None:
        """Makes durable that messages of a retired device count again."""
        self._tables.write({"retired": {device: None}})

    def save_delivery(self, artifact: str, base: str, delivery: Delivery | None) -> None:
        """Makes the encoding of an artifact durable; None where encoding saves too little. `base` may be empty."""
        self._tables.write({"deliveries": {f"{artifact}/{base}": msgspec.json.encode(delivery)}})

    def encoded(self) -> frozenset[tuple[str, str]]:
        """Returns (artifact, base) of every encoding that was tried, also of those that save too little."""
        keys = (key.partition("/") for key in self._tables.rows("deliveries"))
        return frozenset((artifact, base) for artifact, _, base in keys)

    def published(self) -> dict[str, Blob]:
        """Returns the blobs that the broker was given, by digest."""
        found = self._tables.rows("published")
        return {digest: _blob(body) for digest, body in found.items()}

    def save_published(self, given: Iterable[Blob], taken_back: Iterable[str] = ()) -> None:
        """Makes durable which blobs the broker has been given, and which (by digest) were removed from it."""
        rows: dict[str, bytes | None] = {blob.sha256: msgspec.json.encode(blob) for blob in given}
        rows.update(dict.fromkeys(taken_back))
        if rows:
            self._tables.write({"published": rows})

    def load_world(
        self, last_words: Mapping[str, bytes], silent_s: float, untold: Iterable[tuple[str, bytes]] = ()
    ) -> World:
        """Makes the world of a controller that starts, from the tables and from the last heartbeats.

        Tables hold the desired side of each twin. `last_words` is the last heartbeat of each device, as it was encoded;
        it gives the reported side; `untold` are (device, report) that came after it. `silent_s` is the time in seconds
        after which a device counts as silent.
        """
        retired = self._readable("retired", self._tables.rows("retired"), _retired)
        durable = Durable(
            twins=_with_reports(
                self._twins({name: words for name, words in last_words.items() if name not in retired}), untold
            ),
            retired=retired,
            rollouts=self._rollouts(),
            quarantine=self._readable("quarantine", self._tables.rows("quarantine"), _quarantine),
            deliveries=self._deliveries(),
            endings=self._endings(),
        )
        self._written(durable.rollouts.values())
        return World(silent_s=silent_s, durable=durable, caches=Caches(joining=set(durable.twins)))

    def _twins(self, last_words: Mapping[str, bytes]) -> dict[str, Twin]:
        twins: dict[str, Twin] = {}
        said = {device: body for device, body in last_words.items() if self._may_be("last words", device)}
        for device, (words, _) in self._readable("last words", said, _last_words).items():
            told = fold_heartbeat(Twin(device), words, 0.0)
            twins[device] = replace(told, connected=None, seen_at=None, clock=None)
        rows = {
            device: body for device, body in self._tables.rows("devices").items() if self._may_be("devices", device)
        }
        for device, side in self._readable("devices", rows, _desired_side).items():
            twins[device] = _with_side(twins.get(device) or Twin(device), side)
        return twins

    def _may_be(self, table: str, device: str) -> bool:
        """Tells whether a device may have this name. A row of an older version may have another name: it is skipped."""
        if not is_device_name(device):
            self._set_aside(f"{table} {device[:80]!r}", "no device may have this name")
        return is_device_name(device)

    def _readable(self, table: str, rows: Mapping[str, bytes], read: Callable[[bytes], T]) -> dict[str, T]:
        """Returns the rows that `read` can decode. A row that cannot be decoded is named, and stays in its table."""
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
        excluded: dict[str, dict[str, Exclusion]] = {}
        for key, body in self._tables.rows("excluded").items():
            name, _, device = key.partition("/")
            excluded.setdefault(name, {})[device] = exclusion_of(body)
        return {
            name: replace(rollout, members=tuple(members.get(name, ())), excluded=excluded.get(name, {}))
            for name, rollout in self._readable("rollouts", self._tables.rows("rollouts"), _rollout).items()
        }

    def _endings(self) -> dict[str, dict[str, Ending]]:
        found: dict[str, dict[str, Ending]] = {}
        for key, ending in self._readable("endings", self._tables.rows("endings"), _ending).items():
            name, _, device = key.partition("/")
            found.setdefault(name, {})[device] = ending
        return found

    def _deliveries(self) -> dict[str, dict[str, Delivery]]:
        found: dict[str, dict[str, Delivery]] = {}
        for key, delivery in self._readable("deliveries", self._tables.rows("deliveries"), _delivery).items():
            artifact, _, base = key.partition("/")
            if delivery is not None:
                found.setdefault(artifact, {})[base] = delivery
        return found

    def _rollout_rows(self, rollouts: Iterable[Rollout]) -> dict[str, dict[str, bytes | None]]:
        rows: dict[str, dict[str, bytes | None]] = {"rollouts": {}, "members": {}, "excluded": {}}
        for rollout in rollouts:
            members, excluded = self._members.get(rollout.id, ()), self._excluded.get(rollout.id, {})
            for table, new in rollout_rows(rollout, members, excluded).items():
                rows[table].update(new)
        return rows

    def _written(self, rollouts: Iterable[Rollout]) -> None:
        self._members.update({rollout.id: rollout.members for rollout in rollouts})
        self._excluded.update({rollout.id: rollout.excluded for rollout in rollouts})


def _with_reports(twins: dict[str, Twin], untold: Iterable[tuple[str, bytes]]) -> dict[str, Twin]:
    """Returns the twins with what their devices have reported since their last heartbeats, which does not tell their
    presence.
    """
    for device, body in untold:
        twin = twins.get(device)
        with suppress(BadInput):
            if twin is not None:
                told = fold_report(twin, decode_said(body, Report)[0], 0.0)
                twins[device] = replace(told, connected=twin.connected, seen_at=twin.seen_at)
    return twins


def _with_side(twin: Twin, side: DesiredSide) -> Twin:
    return replace(
        with_given_labels(twin, side.given_labels),
        note=side.note,
        config=side.config,
        document_version=side.document_version,
        issued_at=side.issued_at,
        desired=side.desired,
        answered=side.answered,
        withdrawn=side.withdrawn,
        erasures=side.erasures,
        pins=side.pins,
        boots=replace(of_past(side.past_boots), current=twin.boots.current),
    )


def device_rows(twins: Iterable[Twin]) -> dict[str, bytes]:
    """Returns a row with the desired side of each twin, by device."""
    return {
        twin.device: msgspec.json.encode(
            DesiredSide(
                document_version=twin.document_version,
                issued_at=twin.issued_at,
                desired=twin.desired,
                answered=twin.answered,
                past_boots=twin.boots.kept(),
                withdrawn=twin.withdrawn,
                given_labels=twin.given_labels,
                note=twin.note,
                config=twin.config,
                erasures=twin.erasures,
                pins=twin.pins,
            )
        )
        for twin in twins
    }


def quarantine_rows(quarantine: Mapping[str, Mapping[str, str]], devices: Iterable[str]) -> dict[str, bytes]:
    """Returns a row with the quarantined digests of each device, by device."""
    return {device: msgspec.json.encode(quarantine.get(device, {})) for device in devices}


def rollout_rows(
    rollout: Rollout, members: tuple[Member, ...] = (), excluded: Mapping[str, Exclusion] | None = None
) -> dict[str, dict[str, bytes | None]]:
    """Returns a rollout's own row, and a row for each member and each excluded device that has changed; None removes
    the row of a device that is excluded no more.

    `members` and `excluded` are those that are written already. Members are compared by identity first, because a
    changed rollout keeps its member objects. So a pass does not compare a whole fleet field by field.
    """
    known = excluded if excluded is not None else {}
    new: dict[str, bytes | None] = {} if rollout.members is members else dict(_new_members(rollout, members))
    out = {} if rollout.excluded is known else rollout.excluded
    gone = () if rollout.excluded is known else known.keys() - rollout.excluded.keys()
    return {
        "rollouts": {rollout.id: msgspec.json.encode(replace(rollout, members=(), excluded={}))},
        "members": new,
        "excluded": {
            **{f"{rollout.id}/{d}": msgspec.json.encode(reason) for d, reason in out.items() if known.get(d) != reason},
            **{f"{rollout.id}/{d}": None for d in gone},
        },
    }


def _new_members(rollout: Rollout, written: tuple[Member, ...]) -> Iterable[tuple[str, bytes]]:
    for place, member in enumerate(rollout.members):
        if place >= len(written) or (written[place] is not member and written[place] != member):
            yield f"{rollout.id}/{place:08d}", msgspec.json.encode(member)


def rows_of_table(table: str, old_docs: Mapping[str, Any]) -> Rows:
    """Returns the rows of a table that an older version kept as one JSON file, with that version's field names.

    ValueError for a table that was not kept in this way.
    """
    docs = {key: in_words_of_now(doc) for key, doc in old_docs.items()}
    match table:
        case "devices" | "published":
            return {table: {key: msgspec.json.encode(doc) for key, doc in docs.items()}}
        case "quarantine":
            return {table: {key: msgspec.json.encode(doc["digests"]) for key, doc in docs.items()}}
        case "deliveries":
            return {table: {key: msgspec.json.encode(doc["delivery"]) for key, doc in docs.items()}}
        case "rollouts":
            rows: dict[str, dict[str, bytes | None]] = {"rollouts": {}, "members": {}, "excluded": {}}
            for doc in docs.values():
                for name, new in rollout_rows(msgspec.convert(with_exclusions(doc), Rollout)).items():
                    rows[name].update(new)
            return rows
    raise ValueError(f"no table {table!r}")
