"""Confirmed versions serve despite any fault of disk, files or broker at boot; no update starts meanwhile."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent import cli
from agent.adapters.directory_lock import lock_directory
from agent.adapters.mqtt.paho_link import tls_context
from agent.adapters.posix_disk import PosixDisk
from agent.config import Broker, Config, Device, Trust
from agent.daemon import CONNECT_MIN_S, Daemon
from agent.doctor import examine
from agent.flash.store import Store
from agent.models.stepper import SAVE_RETRY_S
from contract.errors import BadInput, Code, WorldError
from firmware_sim.fleet_keys import TRUSTED
from tests.agent.serve_first_devices import NOW, TrialDevice, full_disk


def test_a_device_with_a_full_disk_at_boot_serves_stable_and_reports_why_it_accepts_no_update() -> None:
    device = TrialDevice()
    device.boot(full_disk)
    assert device.serving == device.stable
    assert device.agent.dropped["refused_disk_full"] >= 1


def test_no_trial_starts_on_a_boot_whose_record_is_not_durable() -> None:
    device = TrialDevice(trial=True)
    device.boot(lambda name: full_disk(name) if name.endswith("device") else None)
    assert device.serving == device.stable
    assert device.store.load_records()[0]["m"].trial_boots == 0


def test_the_trial_starts_once_the_disk_accepts_the_record_of_the_boot() -> None:
    device = TrialDevice(trial=True)
    device.boot(full_disk)
    device.mend()
    device.wake(NOW + SAVE_RETRY_S)
    assert device.serving == device.trial
    assert device.store.load_records()[0]["m"].trial_boots == 1
    kept = device.store.load_device()[0]
    assert kept is not None
    assert kept.boots == device.boots + 1


def test_a_record_that_cannot_be_set_aside_prevents_no_boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(PosixDisk(tmp_path))
    (tmp_path / "record-m").write_bytes(b"torn")
    (tmp_path / "device").write_bytes(b"torn")

    def read_only(*_: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(PosixDisk, "rename", read_only)
    assert store.load_records() == ({}, ("m",))
    assert store.load_device() == (None, True)


def test_an_unreadable_record_is_treated_as_damaged(tmp_path: Path) -> None:
    (tmp_path / "device").mkdir()
    assert Store(PosixDisk(tmp_path)).load_device() == (None, True)


def test_a_lock_file_that_cannot_be_written_still_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock_directory(tmp_path).close()
    opened: Callable[..., Any] = Path.open

    def read_only(self: Path, mode: str = "r") -> Any:
        if mode != "r":
            raise OSError(errno.EROFS, "Read-only file system")
        return opened(self, mode)

    monkeypatch.setattr(Path, "open", read_only)
    with lock_directory(tmp_path), pytest.raises(WorldError, match="another running agent"):
        lock_directory(tmp_path)


def config_of(tmp_path: Path, **changes: Any) -> tuple[Config, Path]:
    config = Config(device=Device(name="d", state_dir=str(tmp_path / "state")))
    return msgspec.structs.replace(config, **changes), tmp_path / "agent.toml"


def daemon_of(tmp_path: Path, **changes: Any) -> Daemon:
    return Daemon(*config_of(tmp_path, **changes))


def test_a_missing_ca_file_is_named_and_connecting_is_tried_again(tmp_path: Path) -> None:
    (tmp_path / "root.json").write_text(TRUSTED.root)
    daemon = daemon_of(tmp_path, broker=Broker(url="mqtts://127.0.0.1:1", ca_file=str(tmp_path / "gone.pem")))
    try:
        daemon.start()
        daemon._connect()
        assert daemon.fault is not None
        assert "gone.pem: No such file" in str(daemon.fault)
        first = daemon._connect_s
        daemon._connect()
        assert (first, daemon._connect_s) == (2 * CONNECT_MIN_S, 4 * CONNECT_MIN_S)
    finally:
        daemon.close()


def test_connecting_succeeds_once_the_root_exists_and_sensors_start_once(tmp_path: Path) -> None:
    daemon = daemon_of(tmp_path, broker=Broker(url=f"file://{tmp_path}"))
    try:
        daemon.start()
        daemon._connect()
        assert daemon.fault is not None
        assert "root.json" in str(daemon.fault)
        pipelines = daemon._pipelines
        (tmp_path / "root.json").write_text(TRUSTED.root)
        daemon._connect()
        assert daemon.fault is None
        assert daemon._connection is not None
        assert daemon._pipelines is pipelines
    finally:
        daemon.close()


def test_an_unreadable_root_is_not_needed_if_trust_was_verified_before(tmp_path: Path) -> None:
    daemon = daemon_of(tmp_path, broker=Broker(url=f"file://{tmp_path}"), trust=Trust(root_file="gone.json"))
    try:
        trusted = msgspec.structs.replace(TRUSTED, roles=())
        Store(PosixDisk(tmp_path / "state")).save_trusted(trusted, msgspec.structs.replace(trusted, root=""))
        daemon.start()
        daemon._connect()
        assert daemon.fault is None
    finally:
        daemon.close()


def test_doctor_names_the_file_and_the_name_that_are_wrong(tmp_path: Path) -> None:
    broker = Broker(url="mqtts://no-such-host.invalid:8883", ca_file=str(tmp_path / "gone.pem"))
    found = {each.check: each for each in examine(*config_of(tmp_path, broker=broker))}
    assert not found["certificates"].ok
    assert "gone.pem" in found["certificates"].detail
    assert not found["broker"].ok
    assert "no-such-host.invalid cannot be resolved" in found["broker"].detail


def test_status_reports_faults_of_the_devices_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(f'[device]\nname = "d"\nstate_dir = "{tmp_path}/state"\n')
    assert cli.run(["status", "-c", str(path)]) == 0
    assert "root of trust: config_invalid: trust.root_file" in capsys.readouterr().err


def test_invalid_pem_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no PEM")
    with pytest.raises(BadInput) as caught:
        tls_context(Broker(url="mqtts://x:1", ca_file=str(tmp_path / "ca.pem")))
    assert caught.value.code == Code.CONFIG_INVALID
    assert "ca.pem" in caught.value.detail
