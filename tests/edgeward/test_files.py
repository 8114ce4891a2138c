"""A file on a stick or with a key is complete or absent, also after a power cut."""

import os
from pathlib import Path
from typing import Any

import pytest

from contract.errors import BadInput
from edgeward.ceremony import make_key
from edgeward.files import PRIVATE, write_whole


def test_content_is_synced_before_the_rename_and_the_directory_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "root.json"
    path.write_text("old")
    done: list[str] = []
    fsync = os.fsync

    def noted(handle: int) -> None:
        kind = "directory" if Path(f"/proc/self/fd/{handle}").resolve() == tmp_path else "file"
        done.append(f"{kind} synced, name holds {path.read_text()}")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", noted)
    write_whole(path, "new")
    assert done == ["file synced, name holds old", "directory synced, name holds new"]
    assert [each.name for each in tmp_path.iterdir()] == ["root.json"]


def test_a_failing_disk_leaves_the_old_file_and_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "root.json"
    path.write_text("old")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["root.json"]


def test_a_key_is_readable_by_its_owner_only_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "offline" / "root-1.pem"
    make_key(path)
    before = path.read_bytes()
    assert path.stat().st_mode & 0o777 == PRIVATE
    with pytest.raises(BadInput, match="never overwrites"):
        make_key(path)
    assert path.read_bytes() == before
