import errno
import os
from pathlib import Path
from random import Random

import pytest
from msgspec.structs import replace

from agent.adapters.posix_disk import PosixDisk, make_private
from agent.core.admission import HighWater
from agent.core.model import Record
from agent.flash.store import RESERVE_BYTES, DeviceRecord, Store
from agent.ports import Disk
from contract.blobs import chunk_list, describe, parse_chunk_list, split
from contract.errors import Code, WorldError
from firmware_sim.flash import Flash

DATA = bytes(range(256)) * 20
BLOB = describe(DATA, 1024)
DIGESTS = parse_chunk_list(chunk_list(DATA, 1024), BLOB)


@pytest.fixture(params=["flash", "posix"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store(Flash(Random(1)) if request.param == "flash" else PosixDisk(tmp_path / "state"))


def write_all(store: Store) -> None:
    for index, chunk in enumerate(split(DATA, 1024)):
        store.write_chunk(BLOB, index, chunk)


def test_a_fresh_disk_has_nothing(store: Store) -> None:
    assert store.load_device() == (None, False)
    assert store.load_records() == ({}, ())
    assert not store.has(BLOB)


def test_records_are_read_as_they_were_saved(store: Store) -> None:
    device = DeviceRecord(boots=3, high_water=HighWater(version=9, digest="d"))
    store.save_device(device)
    store.save_record("weather", Record(generation=4))
    assert store.load_device() == (device, False)
    assert store.load_records() == ({"weather": Record(generation=4)}, ())


@pytest.mark.parametrize("verified", [True, False])
def test_a_sealed_blob_is_complete(store: Store, verified: bool) -> None:
    write_all(store)
    store.seal(BLOB, verified=verified)
    assert store.read(BLOB) == DATA


def test_a_download_whose_blob_another_download_has_sealed_stops_and_does_not_damage_it(store: Store) -> None:
    write_all(store)
    store.seal(BLOB)
    with pytest.raises(WorldError) as caught:
        store.write_chunk(BLOB, 3, split(DATA, 1024)[3])
    assert caught.value.code == Code.DIGEST_MISMATCH
    with pytest.raises(WorldError):
        store.seal(BLOB, verified=True)
    assert store.has(BLOB)


def test_a_list_of_other_bytes_for_the_same_digest_damages_only_its_own_part(store: Store) -> None:
    write_all(store)
    store.write_chunk(replace(BLOB, chunks_sha256="0" * 64), 0, b"\0" * 1024)
    store.seal(BLOB, verified=True)
    assert store.has(BLOB)
    store.prune([BLOB.sha256])
    assert [name for name in store._disk.names() if name.startswith("part-")] == []


def test_chunks_that_survived_are_found_by_their_hashes(store: Store) -> None:
    assert store.follow_part(BLOB, DIGESTS).count == 0
    write_all(store)
    assert store.follow_part(BLOB, DIGESTS).whole
    store.write_chunk(BLOB, 3, b"\0" * 1024)
    assert store.follow_part(BLOB, DIGESTS).count == 3


def test_wrong_bytes_are_never_sealed_as_the_blob(store: Store) -> None:
    write_all(store)
    store.write_chunk(BLOB, 0, b"\0" * 1024)
    with pytest.raises(WorldError) as caught:
        store.seal(BLOB)
    assert caught.value.code == Code.DIGEST_MISMATCH
    assert store.follow_part(BLOB, DIGESTS).count == 0


def test_an_incomplete_write_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk, whole = PosixDisk(tmp_path), os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda descriptor, data, offset: whole(descriptor, data[:7], offset))
    disk.write_at("file", 0, b"of")
    disk.write_at("file", 2, b"twenty-six bytes of a file")
    assert disk.read("file") == b"oftwenty-six bytes of a file"


@pytest.mark.parametrize("simulated", [False, True])
def test_no_disk_leaves_a_gap_in_place_of_missing_bytes(tmp_path: Path, simulated: bool) -> None:
    disk: Disk = Flash(Random(1)) if simulated else PosixDisk(tmp_path)
    with pytest.raises(FileNotFoundError):
        disk.write_at("file", 3, b"later bytes")
    assert disk.names() == []
    disk.write_at("file", 0, b"of")
    with pytest.raises(FileNotFoundError):
        disk.write_at("file", 3, b"later bytes")
    assert disk.read("file") == b"of"


def test_a_missing_base_is_reported_as_missing_and_not_as_a_failure_of_the_disk(store: Store) -> None:
    with pytest.raises(WorldError) as caught:
        store.read_part(BLOB.sha256, 0, 1)
    assert caught.value.code == Code.DIGEST_MISMATCH


def test_pruning_keeps_records_and_named_blobs(store: Store) -> None:
    store.save_record("m", Record(generation=1))
    write_all(store)
    store.seal(BLOB)
    store.prune([BLOB.sha256])
    assert store.has(BLOB)
    store.prune([])
    assert not store.has(BLOB)
    assert store.load_records()[0] == {"m": Record(generation=1)}


def test_a_damaged_record_is_set_aside_and_the_others_are_read(tmp_path: Path) -> None:
    store = Store(PosixDisk(tmp_path))
    store.save_record("good", Record(generation=1))
    store.save_record("bad", Record(generation=2))
    file = tmp_path / "record-bad"
    file.write_bytes(file.read_bytes().replace(b'"generation":2', b'"generation":7'))
    assert store.load_records() == ({"good": Record(generation=1)}, ("bad",))
    assert (tmp_path / "bad-record-bad").exists()
    assert store.load_records() == ({"good": Record(generation=1)}, ())


def test_a_damaged_device_record_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "device").write_bytes(b"nonsense")
    assert Store(PosixDisk(tmp_path)).load_device() == (None, True)
    assert (tmp_path / "bad-device").exists()
    assert Store(PosixDisk(tmp_path)).load_device() == (None, False)


def test_a_blob_that_does_not_fit_is_refused_before_a_byte_is_written() -> None:
    store = Store(Flash(Random(1), capacity_bytes=RESERVE_BYTES + len(DATA) - 1))
    with pytest.raises(WorldError) as caught:
        store.reserve(BLOB)
    assert caught.value.code == Code.DISK_FULL


def test_a_full_disk_keeps_the_existing_record() -> None:
    flash = Flash(Random(1))
    store = Store(flash)
    store.save_record("m", Record(generation=1))
    flash.capacity_bytes = sum(flash.size_bytes(name) for name in flash.names())
    with pytest.raises(WorldError) as caught:
        store.save_record("m", Record(generation=2))
    assert caught.value.code == Code.DISK_FULL
    assert store.load_records()[0]["m"].generation == 1


def test_another_disk_failure_is_reported_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    flash = Flash(Random(1))

    def refuse(name: str) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(flash, "sync", refuse)
    with pytest.raises(WorldError) as caught:
        Store(flash).save_record("m", Record())
    assert caught.value.code == Code.DISK_FAILED


def test_an_unreadable_disk_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    flash = Flash(Random(1))
    store = Store(flash)
    write_all(store)
    store.seal(BLOB)

    def refuse(name: str, offset: int, size_bytes: int) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(flash, "read_at", refuse)
    with pytest.raises(WorldError) as caught:
        store.has(BLOB)
    assert caught.value.code == Code.DISK_FAILED


def test_files_are_readable_by_their_owner_only_under_any_umask(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o755)
    before = os.umask(0)
    try:
        disk = PosixDisk(tmp_path / "state")
        make_private(tmp_path / "state")
        disk.write("record", b"x")
        disk.write_at("blob", 0, b"x")
    finally:
        os.umask(before)
    modes = [path.stat().st_mode & 0o777 for path in (tmp_path / "state", *(tmp_path / "state").iterdir())]
    assert modes == [0o700, 0o600, 0o600]
