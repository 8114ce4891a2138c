"""The data of the device on flash: records, blobs, and unfinished blobs. Uses the Disk port.

Decides names, the order of write, sync and rename, and what may be deleted. Refuses to know when to do any of it.
Invariant: a name without a prefix ``tmp-`` or ``part-`` is complete and was durable before it got that name.
"""

import hashlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TypeVar

import msgspec

from agent.core.admission import HighWater
from agent.core.model import Record
from agent.core.remote_config import ConfigRecord
from agent.flash.atomic_file import medium, read_atomic, write_atomic
from agent.ports import Disk
from contract.blobs import Blob, Followed
from contract.errors import BadInput, Code, WorldError
from contract.kept import decode_kept
from contract.trust.verified import Trusted
from contract.wire import Message, encode

R = TypeVar("R", bound=msgspec.Struct)

_BLOCK_BYTES = 1024 * 1024
MAX_RECORD_BYTES = 1024 * 1024
RESERVE_BYTES = 1024 * 1024
"""Bytes kept free beside a blob, so that records can always be written."""


class DeviceRecord(Message, frozen=True):
    """The record of the device, for all its models."""

    boots: int
    """How often the agent has started on this disk. Each start writes it, to find out whether the disk accepts
    records."""
    high_water: HighWater = HighWater()
    numbered_by: tuple[str, ...] = ()
    """Key ids of the director whose generations the records of models hold."""
    min_releases: dict[str, int] = {}
    """The highest minimum release that each model's release signer has ever set."""


class KeptRole(Message, frozen=True):
    """A release signer's document, as it was verified."""

    model: str
    text: str


class Store:
    """Records and blobs on one Disk. Raises WorldError `disk_full` or `disk_failed` when the medium refuses."""

    def __init__(self, disk: Disk, keep_bytes: int = 0) -> None:
        self._disk = disk
        self._keep_bytes = keep_bytes
        self._retired: list[str] = []
        """Digests of blobs that nothing needs any more, oldest first, as far as this boot knows."""

    def load_device(self) -> tuple[DeviceRecord | None, bool]:
        """Returns (the device record or None on a new disk, whether one failed its checksum and was set aside)."""
        try:
            return self._load("device", DeviceRecord), False
        except BadInput:
            self._set_aside("device")
            return None, True

    def save_device(self, record: DeviceRecord) -> None:
        """Makes the device record durable."""
        self._write("device", record)

    def load_config(self) -> ConfigRecord:
        """Returns the record of remote configurations; a damaged one is set aside."""
        try:
            return self._load("remote-config", ConfigRecord) or ConfigRecord()
        except BadInput:
            self._set_aside("remote-config")
            return ConfigRecord()

    def save_config(self, record: ConfigRecord) -> None:
        """Makes the record of remote configurations durable."""
        self._write("remote-config", record)

    def load_trusted(self) -> tuple[Trusted | None, bool]:
        """Returns (the metadata verified before, without roles, or None on a new disk; whether it failed its
        checksum).
        """
        try:
            return self._load("trust", Trusted), False
        except BadInput:
            self._set_aside("trust")
            return None, True

    def load_roles(self) -> Mapping[str, str]:
        """Returns the release signers' documents by model, as they were verified."""
        roles = (self._role(name.removeprefix("role-")) for name in self._disk.names() if name.startswith("role-"))
        return {role.model: role.text for role in roles if role is not None}

    def save_trusted(self, trusted: Trusted, before: Trusted) -> None:
        """Makes verified metadata durable, against which rollbacks are detected. Only what differs is written."""
        known = dict(before.roles)
        for model, text in trusted.roles:
            if known.get(model) != text:
                self._write(f"role-{model}", KeptRole(model=model, text=text))
        bare = msgspec.structs.replace(trusted, roles=())
        if bare != msgspec.structs.replace(before, roles=()):
            self._write("trust", bare)

    def forget_trusted(self) -> None:
        """Deletes all verified metadata, durably: trust then begins from the root that the device is given."""
        with medium():
            for name in [each for each in self._disk.names() if each == "trust" or each.startswith("role-")]:
                self._disk.delete(name)
            self._disk.sync_directory()

    def _role(self, model: str) -> KeptRole | None:
        try:
            return self._load(f"role-{model}", KeptRole)
        except BadInput:
            return None  # the broker sends its retained document again

    def load_records(self) -> tuple[dict[str, Record], tuple[str, ...]]:
        """Returns (records by model, models whose record fails its checksum and was set aside as ``bad-...``)."""
        records, corrupt = {}, []
        for name in self._disk.names():
            if not name.startswith("record-"):
                continue
            model = name.removeprefix("record-")
            try:
                record = self._load(name, Record)
            except BadInput:
                corrupt.append(model)
                self._set_aside(name)
                continue
            if record is not None:
                records[model] = record
        return records, tuple(corrupt)

    def save_record(self, model: str, record: Record) -> None:
        """Makes the record of `model` durable: the one commit point of an update."""
        self._write(f"record-{model}", record)

    def has(self, blob: Blob) -> bool:
        """Whether the blob is complete on disk and its bytes still have its digest; pruning then keeps it."""
        if blob.sha256 in self._retired:
            self._retired.remove(blob.sha256)
        return blob.sha256 == self._digest_of(f"blob-{blob.sha256}", blob.length)

    def follow_part(self, blob: Blob, digests: tuple[bytes, ...]) -> Followed:
        """Returns the intact chunks of an unfinished blob, up to the first damaged one.

        They are found by hashing: a stored record of them could be wrong after a power cut.
        """
        followed, name = Followed(blob, digests), _part(blob)
        if name in self._disk.names():
            while not followed.whole and followed.follow(self._disk.read_at(name, *blob.span(followed.count))):
                pass
        return followed

    def reserve(self, *blobs: Blob) -> None:
        """Makes room by deleting blobs that nothing needs. WorldError `disk_full` unless the blobs and a
        reserve fit.
        """
        wanted = sum(blob.length for blob in blobs)
        while self._retired and self._disk.free_bytes() < wanted + RESERVE_BYTES:
            with medium():
                self._disk.delete(f"blob-{self._retired.pop(0)}")
        free = self._disk.free_bytes()
        if free < wanted + RESERVE_BYTES:
            raise WorldError(Code.DISK_FULL, f"{wanted} bytes wanted, {free} free, {RESERVE_BYTES} reserved")

    def holds(self, digest: str) -> bool:
        """Whether a sealed blob has this name; its bytes are not read."""
        return f"blob-{digest}" in self._disk.names()

    def read_part(self, digest: str, offset: int, size_bytes: int) -> bytes:
        """Returns bytes of a sealed blob, fewer at its end. WorldError `digest_mismatch` if it is missing."""
        with medium(gone=f"blob {digest[:12]} is missing"):
            return self._disk.read_at(f"blob-{digest}", offset, size_bytes)

    def write_piece(self, blob: Blob, offset: int, data: bytes) -> None:
        """Writes bytes of an unfinished blob at `offset`. WorldError `digest_mismatch` if the bytes before `offset`
        are missing: another download of the same blob has sealed it, or pruning deleted it.
        """
        with medium(gone=f"what came of {blob.sha256[:12]} before is gone"):
            self._disk.write_at(_part(blob), offset, data)

    def discard(self, blob: Blob) -> None:
        """Deletes a blob that is not needed any more."""
        with medium():
            self._disk.delete(f"blob-{blob.sha256}")

    def write_chunk(self, blob: Blob, index: int, data: bytes) -> None:
        """Writes a verified chunk at its place, as `write_piece` does."""
        self.write_piece(blob, blob.span(index)[0], data)

    def seal(self, blob: Blob, *, verified: bool = False) -> None:
        """Gives the blob its name. WorldError `digest_mismatch` if the bytes have another digest; they are dropped.

        `verified`: each chunk was verified in order before it was written, so that the bytes need not be read again.
        """
        with medium():
            self._disk.sync(_part(blob))
            whole = verified and self._size_of(_part(blob)) == blob.length
            if not whole and self._digest_of(_part(blob), blob.length) != blob.sha256:
                self._disk.delete(_part(blob))
                raise WorldError(Code.DIGEST_MISMATCH, f"assembled bytes are not {blob.sha256[:12]}")
            self._disk.rename(_part(blob), f"blob-{blob.sha256}")
            self._disk.sync_directory()

    def prune(self, keep: Iterable[str]) -> None:
        """Deletes half-written files, and every part whose blob is not in `keep` or is complete. Of other blobs the
        newest stay, up to `keep_bytes`: a new version may be encoded from them, and a roll back may need them.
        """
        kept = set(keep)
        with medium():
            for name in (names := self._disk.names()):
                prefix, _, rest = name.partition("-")
                digest = rest.partition("-")[0]
                if prefix == "tmp" or (prefix == "part" and (digest not in kept or f"blob-{digest}" in names)):
                    self._disk.delete(name)
            self._retire(kept)

    def _retire(self, kept: set[str]) -> None:
        blobs = (name.removeprefix("blob-") for name in self._disk.names() if name.startswith("blob-"))
        spare = [digest for digest in blobs if digest not in kept]
        known = [digest for digest in self._retired if digest in spare]
        self._retired = [*known, *(digest for digest in spare if digest not in known)]
        left = self._keep_bytes
        for digest in reversed(list(self._retired)):
            left -= self._disk.size_bytes(f"blob-{digest}")
            if left < 0:
                self._disk.delete(f"blob-{digest}")
                self._retired.remove(digest)

    def path(self, blob: Blob) -> str:
        """Returns the path of a sealed blob's file."""
        return self._disk.path(f"blob-{blob.sha256}")

    def read(self, blob: Blob) -> bytes:
        """Returns the bytes of a sealed blob, verified. WorldError `digest_mismatch` if flash has changed them."""
        if not self.has(blob):
            raise WorldError(Code.DIGEST_MISMATCH, f"blob {blob.sha256[:12]} is damaged or missing")
        return self._disk.read(f"blob-{blob.sha256}")

    def _write(self, name: str, record: msgspec.Struct) -> None:
        write_atomic(self._disk, name, encode(record))

    def _load(self, name: str, kind: type[R]) -> R | None:
        try:
            body = read_atomic(self._disk, name)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise BadInput(Code.RECORD_CORRUPT, f"{name}: {error.strerror or error}") from None
        return decode_kept(body, kind, max_bytes=MAX_RECORD_BYTES)

    def _set_aside(self, name: str) -> None:
        """Keeps a damaged record for people who look for the cause. On a read-only disk it stays where it is."""
        with suppress(OSError):
            self._disk.rename(name, f"bad-{name}")

    def _size_of(self, name: str) -> int:
        try:
            return self._disk.size_bytes(name)
        except FileNotFoundError:
            return 0

    def _digest_of(self, name: str, length: int) -> str:
        if self._size_of(name) != length:
            return ""
        sha = hashlib.sha256()
        with medium():
            for offset in range(0, length, _BLOCK_BYTES):
                sha.update(self._disk.read_at(name, offset, min(_BLOCK_BYTES, length - offset)))
        return sha.hexdigest()


def _part(blob: Blob) -> str:
    """Returns the name of an unfinished blob. It contains the digest of its chunk list: a wrong list damages only
    its own part.
    """
    return f"part-{blob.sha256}-{blob.chunks_sha256}"
