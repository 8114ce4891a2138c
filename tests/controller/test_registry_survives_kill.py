"""kill -9 at any moment loses nothing that was acknowledged, and a full disk keeps the old table."""

import errno
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest

from contract.errors import BadInput, Code, WorldError
from controller.registry import atomic_file
from controller.registry.atomic_file import replace_file
from controller.registry.atomic_storage import AtomicStorage
from controller.registry.blobs import BlobStore
from controller.registry.journal import _TOLD, Journal
from controller.registry.store import TinyStore

KILLS = 40

_WRITER = """
import sys
from pathlib import Path
from controller.registry.store import TinyStore
store = TinyStore(Path(sys.argv[1]))
number = len(store.all("versions"))
while True:
    store.put("versions", {f"m/{number}": {"number": number, "padding": "x" * 2000}})
    print(number, flush=True)
    number += 1
"""


def test_acknowledged_writes_survive_every_kill(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = Random(7)
    acknowledged = -1
    for _ in range(KILLS):
        with subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            first = writer.stdout.readline()
            time.sleep(rng.uniform(0.0, 0.05))
            writer.send_signal(signal.SIGKILL)
            acknowledged = max(int(line) for line in [first, *writer.stdout.read().splitlines()])
        found = TinyStore(tmp_path).all("versions")
        assert acknowledged <= len(found) - 1 <= acknowledged + 1
        assert [doc["number"] for doc in found.values()] == list(range(len(found)))
    with capsys.disabled():
        print(f"\n  registry: {KILLS} kills, {acknowledged + 1} acknowledged writes, none lost")


def test_tables_are_read_as_they_were_written_by_another_process(tmp_path: Path) -> None:
    store = TinyStore(tmp_path)
    store.put("t", {"a": {"x": 1}, "b": {"x": 2}})
    store.put("t", {"a": {"x": 3}})
    store.delete("t", "b")
    store.delete("t", "never there")
    assert TinyStore(tmp_path).all("t") == {"a": {"x": 3}}
    assert TinyStore(tmp_path).get("t", "b") is None


def test_a_full_disk_keeps_the_existing_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = TinyStore(tmp_path)
    store.put("t", {"a": {"x": 1}})

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(atomic_file.os, "fsync", full)
    with pytest.raises(WorldError) as caught:
        store.put("t", {"a": {"x": 2}})
    assert caught.value.code == Code.DISK_FULL
    monkeypatch.undo()
    assert TinyStore(tmp_path).all("t") == {"a": {"x": 1}}
    assert store.get("t", "a") == {"x": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["t.json"]


def test_a_table_that_is_not_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text('{"_default": {"1"')
    with pytest.raises(BadInput) as caught:
        TinyStore(tmp_path).all("t")
    assert caught.value.code == Code.STORE_CORRUPT
    assert "t.json" in caught.value.detail


def test_an_empty_directory_has_empty_tables(tmp_path: Path) -> None:
    assert AtomicStorage(str(tmp_path / "none" / "t.json")).read() is None
    assert TinyStore(tmp_path / "none").all("t") == {}


def test_a_blob_is_named_by_the_digest_of_its_bytes_and_damage_is_noticed(tmp_path: Path) -> None:
    blobs = BlobStore(tmp_path)
    digest = blobs.put(b"model")
    assert blobs.put(b"model") == digest
    assert blobs.get(digest) == b"model"
    replace_file(tmp_path / digest[:2] / digest, b"modem")
    for name in (digest, "ab" * 32):
        with pytest.raises(BadInput) as caught:
            blobs.get(name)
        assert caught.value.code == Code.STORE_CORRUPT
    with pytest.raises(ValueError, match="not a digest"):
        blobs.get("../../etc/passwd")


def said(boot: int, seq: int) -> str:
    return json.dumps({"boot": boot, "seq": seq})


def test_a_repeated_report_is_in_the_history_once_and_in_the_order_of_the_device(
    tmp_path: Path,
) -> None:
    journal = Journal(tmp_path / "j.sqlite")
    journal.record("t0", [("a", said(1, 1)), ("a", said(1, 3)), ("b", said(1, 1))])
    journal.record("t1", [("a", said(1, 2)), ("a", said(1, 3)), ("a", said(2, 1))])
    assert [body for _, body in journal.history_of("a")] == [said(1, 1), said(1, 2), said(1, 3), said(2, 1)]
    assert journal.history_of("b") == [("t0", said(1, 1))]
    plan = journal._db.execute(f"EXPLAIN QUERY PLAN {_TOLD}", ("a", 5)).fetchall()
    assert "SEARCH history USING" in str(plan), "one device's entries are sorted, which are few: no whole history"


def test_the_journal_keeps_history_last_heartbeats_and_an_audit_that_cannot_be_edited(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.sqlite")
    for number in range(5):
        journal.record(f"t{number}", [("a", said(1, number))], [("a", b"%d" % number)])
    journal.audit("t", "ada", "push", "m v1")
    assert journal.history_of("a", limit=2) == [("t3", said(1, 3)), ("t4", said(1, 4))]
    assert Journal(tmp_path / "j.sqlite").last_words() == {"a": b"4"}
    for statement in ("UPDATE audit SET actor = 'eve'", "DELETE FROM audit", "UPDATE history SET body = ''"):
        with pytest.raises(Exception, match="append-only"):
            journal._db.execute(statement)
    assert journal.audit_entries()[0]["actor"] == "ada"
