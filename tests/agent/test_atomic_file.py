"""The one module that writes files which must be complete: its order survives a power cut, also for the agent's own
files.
"""

import errno
import os
import stat
from pathlib import Path
from random import Random

import pytest

from agent.adapters.posix_disk import PosixDisk
from agent.flash.atomic_file import prepare, replace, take_over
from contract.errors import WorldError
from firmware_sim.flash import Flash
from firmware_sim.power import PowerCut, at


@pytest.mark.parametrize("operation", range(1, 5))
def test_a_power_cut_at_any_operation_leaves_the_old_file_or_the_new_one(operation: int) -> None:
    flash = Flash(Random(operation))
    replace(flash, "device.key", b"old")
    flash.power.plan = at(flash.power.operations + operation)
    with pytest.raises(PowerCut):
        replace(flash, "device.key", b"new")
    flash.lose_power()
    assert flash.read("device.key") in (b"old", b"new")


def test_no_file_is_renamed_before_all_files_that_belong_together_are_durable(tmp_path: Path) -> None:
    disk = PosixDisk(tmp_path)
    for name in ("key", "certificate"):
        replace(disk, name, b"old")
        prepare(disk, name, b"new")
    assert [disk.read(name) for name in ("key", "certificate")] == [b"old", b"old"]
    take_over(disk, "key")
    take_over(disk, "certificate")
    assert disk.names() == ["certificate", "key"]
    assert disk.read("certificate") == b"new"


def test_file_and_directory_are_synced_before_and_after_the_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    sync, rename = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (done.append(Path(f"/proc/self/fd/{fd}").readlink().name), sync(fd)))
    monkeypatch.setattr(Path, "replace", lambda path, target: (done.append("rename"), rename(path, target))[1])
    replace(PosixDisk(tmp_path), "said", b"words")
    assert done == ["tmp-said", "rename", tmp_path.name]


def test_a_private_file_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    replace(PosixDisk(tmp_path), "device.key", b"secret")
    assert stat.S_IMODE((tmp_path / "device.key").stat().st_mode) == 0o600


def test_a_directory_that_was_deleted_is_not_created_again(tmp_path: Path) -> None:
    pulled = tmp_path / "stick"
    with pytest.raises(WorldError, match=os.strerror(errno.ENOENT)):
        replace(PosixDisk(pulled, create=False), "said", b"words")
    assert not pulled.exists()
