"""A backup is one file with all that a controller needs after a restore; a restore is complete or changes nothing."""

import os
import sqlite3
import stat
import tarfile
import threading
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest

from contract.blobs import sha256_hex
from contract.errors import BadInput, Code
from contract.wire import encode
from controller.cli import backup_words, run
from controller.config import Config, StorageConfig
from controller.fleet.twin import Assigned, Twin
from controller.registry import restore as module
from controller.registry.backup import LIST, SCRATCH, BackedUpFile, BackupList, back_up
from controller.registry.fleet_tables import FleetTables
from controller.registry.restore import MARK, check_whole, read_mark, restore
from controller.state import State, open_state

AT = "2026-11-27T03:00:00+00:00"
LATER = "2026-11-28T03:00:00+00:00"


def opened(directory: Path) -> State:
    return open_state(Config(storage=StorageConfig(data_dir=str(directory))))


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    """A controller with a device, two blobs and an entry in its audit."""
    made = opened(tmp_path / "data")
    assigned = Assigned(release=1, generation=7, rollout="r-1", digest=sha256_hex(b"one"))
    made.world.durable.twins["a"] = Twin("a", document_version=7, issued_at=9, desired={"m": assigned})
    made.records.save(made.world.durable, ["a"], [], [])
    for blob in (b"one", b"two"):
        made.blobs.put(blob)
    made.journal.audit(AT, "ada", "push", "m v1")
    (tmp_path / "data" / "broker").mkdir()
    (tmp_path / "data" / "broker" / "password").write_text("secret")
    (tmp_path / "data" / "broker" / "mosquitto.db").write_bytes(b"what the broker holds")
    (tmp_path / "data" / "token").write_text("edg_local")
    yield made
    made.close()


def test_a_restore_equals_the_backed_up_state_and_keys_are_readable_by_the_owner_only(
    state: State, tmp_path: Path
) -> None:
    file = tmp_path / "nightly.tar"
    made = back_up(tmp_path / "data", file, AT)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert {"token", "broker/password", "pki/ca.key", "keys/root.pem"} <= set(made.contents.secrets)
    assert "keys/root.pem" in backup_words(made, file)
    assert not [name for name in made.contents.files if name.endswith(("-wal", "-shm", ".db"))]
    home = tmp_path / "again"
    home.mkdir()
    contents, aside = restore(file, home, replace=False, now=LATER)
    assert (contents, aside) == (made.contents, None)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in home.rglob("*") if path.is_file()}
    assert modes == {0o600}
    again = opened(home)
    assert again.world.durable.twins == state.world.durable.twins
    assert again.blobs.get(sha256_hex(b"one")) == b"one"
    assert again.trust_metadata.files == state.trust_metadata.files
    assert again.journal.checkpoint() == state.journal.checkpoint()
    assert again.enrolment.authority.pem == state.enrolment.authority.pem
    mark = read_mark(home)
    assert mark is not None
    assert (mark.backed_up_at, mark.restored_at) == (AT, LATER)
    again.close()


def test_a_backup_holds_one_moment_while_the_controller_writes(state: State, tmp_path: Path) -> None:
    """A pass writes its rows in one transaction; for every row in the file, the document that it names is there as
    well.
    """
    writing = threading.Event()
    tables = FleetTables(tmp_path / "data" / "fleet.sqlite", ("devices", "rollouts"))
    tables.close()

    def write() -> None:
        mine = FleetTables(tmp_path / "data" / "fleet.sqlite", ("devices", "rollouts"))
        number = 0
        while not writing.wait(0.005):
            number += 1
            blob = b"%d" % number
            state.blobs.put(blob)
            body = sha256_hex(blob).encode()
            mine.write({"devices": {f"d{each}": body for each in range(20)}, "rollouts": {"newest": body}})
        mine.close()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for number in range(5):
            file, home = tmp_path / f"{number}.tar", tmp_path / f"home-{number}"
            contents = back_up(tmp_path / "data", file, AT).contents
            home.mkdir()
            restore(file, home, replace=False, now=LATER)
            rows = sqlite3.connect(home / "fleet.sqlite").execute("SELECT body FROM devices WHERE key LIKE 'd%'")
            bodies = {row[0] for row in rows}
            assert len(bodies) <= 1, "all rows of one pass, or none"
            for body in bodies:
                assert f"blobs/{body.decode()[:2]}/{body.decode()}" in contents.files
    finally:
        writing.set()
        thread.join()


def test_a_blob_that_was_damaged_before_the_backup_is_named_and_all_others_are_saved(
    state: State, tmp_path: Path
) -> None:
    state.blobs.path(sha256_hex(b"two")).write_bytes(b"tWo")
    made = back_up(tmp_path / "data", tmp_path / "b.tar", AT)
    assert made.damaged == [sha256_hex(b"two")]
    assert f"blobs/{sha256_hex(b'one')[:2]}/{sha256_hex(b'one')}" in made.contents.files
    assert "damaged already" in backup_words(made, tmp_path / "b.tar")


def test_a_backup_overwrites_no_other_and_needs_a_controller(state: State, tmp_path: Path) -> None:
    (tmp_path / "b.tar").write_bytes(b"the one before")
    for directory, file in ((tmp_path / "data", tmp_path / "b.tar"), (tmp_path, tmp_path / "c.tar")):
        with pytest.raises(BadInput) as refused:
            back_up(directory, file, AT)
        assert refused.value.code == Code.CONFIG_INVALID
    assert (tmp_path / "b.tar").read_bytes() == b"the one before"
    assert not (tmp_path / "c.tar").exists()


def test_a_restore_over_existing_data_must_be_confirmed_and_moves_it_aside(state: State, tmp_path: Path) -> None:
    file, home = tmp_path / "b.tar", tmp_path / "home"
    back_up(tmp_path / "data", file, AT)
    home.mkdir()
    (home / "precious").write_text("x")
    with pytest.raises(BadInput, match="not empty"):
        restore(file, home, replace=False, now=LATER)
    assert [path.name for path in home.iterdir()] == ["precious"]
    _, aside = restore(file, home, replace=True, now=LATER)
    assert aside is not None
    assert (aside / "precious").read_text() == "x"
    assert (home / "fleet.sqlite").exists()
    once_more = back_up(home, tmp_path / "c.tar", LATER).contents
    assert not [name for name in once_more.files if "precious" in name], "what lies aside is in no backup"


def test_a_restore_is_refused_for_the_directory_of_a_running_controller(
    state: State, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import fcntl

    file, home = tmp_path / "b.tar", tmp_path / "data"
    assert run(["backup", str(file), "--data-dir", str(home)]) == 0
    assert "whoever reads it" in capsys.readouterr().out
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert run(["restore", str(file), "--data-dir", str(home), "--replace"]) == 2
        assert "another running controller" in capsys.readouterr().err
    assert not (home / MARK).exists()
    assert run(["restore", str(file), "--data-dir", str(home)]) == 2
    assert run(["restore", str(file), "--data-dir", str(tmp_path / "new")]) == 0
    assert "restored" in capsys.readouterr().out


def rewritten(file: Path, change: str, tmp_path: Path) -> Path:
    """The backup with one fault in it."""
    out = tmp_path / f"{change}.tar"
    with tarfile.open(file) as source, tarfile.open(out, "w") as target:
        for member in source.getmembers():
            body = source.extractfile(member).read()  # type: ignore[union-attr]
            if member.name == LIST and change == "cut":
                continue
            if member.name == LIST and change in ("newer", "climbs", "lists_more"):
                import json

                plain = json.loads(body)
                if change == "newer":
                    plain["format"] = 2
                if change == "lists_more":
                    plain["files"]["gone"] = {"sha256": "0" * 64, "size_bytes": 1}
                if change == "climbs":
                    plain["files"]["../out"] = {"sha256": sha256_hex(b"x"), "size_bytes": 1}
                    climber = tarfile.TarInfo("../out")
                    climber.size = 1
                    target.addfile(climber, BytesIO(b"x"))
                body = json.dumps(plain).encode()
            if member.name == "token" and change == "damaged":
                body = b"X" + body[1:]
            member.size = len(body)
            target.addfile(member, BytesIO(body))
    return out


@pytest.mark.parametrize("change", ["cut", "newer", "climbs", "lists_more", "damaged"])
def test_an_incomplete_backup_file_changes_nothing(state: State, tmp_path: Path, change: str) -> None:
    file, home = tmp_path / "b.tar", tmp_path / "home"
    back_up(tmp_path / "data", file, AT)
    home.mkdir()
    with pytest.raises(BadInput) as refused:
        restore(rewritten(file, change, tmp_path), home, replace=True, now=LATER)
    assert refused.value.code == Code.BACKUP_INVALID
    assert list(home.iterdir()) == []
    assert not (tmp_path / "out").exists()


def test_a_backup_truncated_anywhere_is_refused_and_changes_nothing(state: State, tmp_path: Path) -> None:
    file, home = tmp_path / "b.tar", tmp_path / "home"
    back_up(tmp_path / "data", file, AT)
    home.mkdir()
    whole = file.read_bytes()
    for length in (0, 1000, len(whole) // 10, len(whole) // 2, whole.rindex(b'"files"')):
        file.write_bytes(whole[:length])
        with pytest.raises(BadInput) as refused:
            restore(file, home, replace=False, now=LATER)
        assert refused.value.code == Code.BACKUP_INVALID
        assert list(home.iterdir()) == []


def test_a_controller_does_not_start_beside_an_interrupted_restore(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, home = tmp_path / "b.tar", tmp_path / "home"
    back_up(tmp_path / "data", file, AT)
    home.mkdir()

    class Killed(BaseException):
        pass

    moves = 0
    original = Path.rename

    def rename(self: Path, target: Path) -> Path:
        nonlocal moves
        if self.parent.name == SCRATCH:
            moves += 1
            if moves == 3:
                raise Killed
        return original(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", rename)
        with pytest.raises(Killed):
            restore(file, home, replace=False, now=LATER)
    with pytest.raises(BadInput, match="has not ended"):
        check_whole(home)
    restore(file, home, replace=True, now=LATER)
    check_whole(home)
    opened(home).close()


def test_known_fields_of_a_backup_from_a_newer_program_are_read() -> None:
    made = BackupList(format=1, version="9.9", made_at=AT, files={"token": BackedUpFile(sha256="0" * 64, size_bytes=1)})
    import json

    plain = json.loads(encode(made)) | {"compression": "none"}
    plain["files"]["token"]["mode"] = 0o600
    assert module.decode(json.dumps(plain).encode(), BackupList) == made


def test_a_full_disk_leaves_no_partial_backup(state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from contract.errors import WorldError

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WorldError) as refused:
        back_up(tmp_path / "data", tmp_path / "b.tar", AT)
    assert refused.value.code == Code.DISK_FULL
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
