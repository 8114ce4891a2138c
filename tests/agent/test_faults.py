"""A fault of a device is in each heartbeat for as long as it lasts, and no longer."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from agent.adapters.kept_lives import KeptLives, load_lives
from agent.cli import run
from agent.config import load_config
from agent.doctor import examine
from agent.flash.boot_record import RETRY_S
from agent.uplink.faults import Faults
from contract import topics
from contract.desired import TrialPolicy
from contract.errors import BadInput, Code, WorldError
from contract.messages import Ack, Heartbeat
from contract.protocol import MAX_FAULTS
from contract.wire import decode, encode
from firmware_sim.flash import Flash
from firmware_sim.fleet_keys import WORLD_BEGAN
from firmware_sim.models import make_model
from firmware_sim.scripts import publish
from firmware_sim.solo import NAME, Broker, Solo
from tests.agent.serve_first_devices import NOW, TrialDevice, full_disk

V1, V2 = make_model(1, "good"), make_model(2, "good")


def test_a_fault_is_reported_until_its_operation_succeeds() -> None:
    faults = Faults()
    faults.note("pub/trust", BadInput(Code.METADATA_EXPIRED, "old"))
    faults.note("desired", BadInput(Code.DESIRED_EXPIRED, "older"))
    assert faults.by_code() == {"metadata_expired": "old", "desired_expired": "older"}
    faults.over("pub/trust")
    assert faults.by_code() == {"desired_expired": "older"}
    faults.note("desired", BadInput(Code.SIGNATURE_INVALID, "forged"))
    assert faults.by_code() == {"signature_invalid": "forged"}, "the newest document there is what counts"


def test_disk_and_clock_are_checked_before_each_heartbeat() -> None:
    faults = Faults()
    faults.look(WorldError(Code.DISK_FULL, "full"), BadInput(Code.CLOCK_WRONG, "1970"))
    assert faults.by_code() == {"disk_full": "full", "clock_wrong": "1970"}
    faults.look(None, None)
    assert faults.by_code() == {}


def test_a_document_that_is_still_arriving_is_no_fault_and_the_number_of_faults_is_limited() -> None:
    faults = Faults()
    faults.note("desired", BadInput(Code.DESIRED_NOT_FRESH, "x"))
    assert faults.by_code() == {}
    for number in range(100):
        faults.note(f"t{number}", BadInput(list(Code)[number % len(Code)], str(number)))
    assert len(faults._by_place) == MAX_FAULTS


@pytest.fixture
def device() -> Solo:
    """A device on which v1 is stable."""
    made = Solo(Flash(Random(1)), Broker(), (V1, V2))
    publish(made, 1, 1, (V1, V2))
    made.run(120)
    return made


def told(device: Solo) -> dict[str, str]:
    """Returns the faults in the newest heartbeat."""
    beats = [raw for topic, raw in device.broker.published if topic == topics.heartbeat(NAME)]
    return dict(decode(beats[-1], Heartbeat).faults)


def test_a_refused_document_is_in_heartbeats_until_a_valid_one_arrives(device: Solo) -> None:
    assert told(device) == {}
    device.offer(topics.desired(NAME), b"{}")
    device.run(device.now + 120)
    assert list(told(device)) == ["message_malformed"]
    device.run(device.now + 3600)
    assert list(told(device)) == ["message_malformed"], "an hour later as well: it still has no good one"
    publish(device, 2, 2, (V1, V2))
    device.run(device.now + 120)
    assert told(device) == {}


def test_heartbeats_contain_the_devices_own_date_and_a_clock_behind_signed_time_is_a_fault(device: Solo) -> None:
    beats = [raw for topic, raw in device.broker.published if topic == topics.heartbeat(NAME)]
    assert 0 <= WORLD_BEGAN.timestamp() + device.now - decode(beats[-1], Heartbeat).at <= 120
    agent = device.device._agent
    assert agent is not None
    assert agent._documents is not None
    assert agent._documents.clock_fault(WORLD_BEGAN + timedelta(days=1)) is None
    behind = agent._documents.clock_fault(datetime(1970, 1, 1, tzinfo=UTC))
    assert behind is not None
    assert behind.code == Code.CLOCK_WRONG


def test_a_disk_that_accepts_no_record_is_a_fault_until_it_accepts_one() -> None:
    device = TrialDevice(trial=True)
    device.boot(full_disk)
    agent = device.agent
    assert "disk_full" in agent._faults.by_code()
    device.mend()
    device.wake(NOW + RETRY_S)
    agent._heartbeat(NOW + 60)
    assert agent._faults.by_code() == {}


def test_a_retired_device_reports_that_and_how_to_return_and_still_serves(device: Solo) -> None:
    device.offer(topics.desired(NAME), b"")
    device.run(device.now + 120)
    assert list(told(device)) == ["device_retired"]
    for words in ("was retired by the controller", f"edgeward device adopt {NAME}", "edgeward-agent adopt"):
        assert words in told(device)["device_retired"]
    assert device.device.serving == V1.manifest.artifact.sha256
    publish(device, 2, 2, (V1, V2))
    device.run(device.now + 120)
    assert told(device) == {}, "it was taken in again"


def test_empty_documents_on_other_topics_change_nothing(device: Solo) -> None:
    device.offer(topics.trust(), b"")
    device.run(device.now + 120)
    assert told(device) == {}


def test_faults_are_in_status_and_doctor_until_they_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "agent.toml"
    config.write_text(f'[device]\nname = "a"\nstate_dir = "{tmp_path}"\n')
    kept = KeptLives(tmp_path)
    kept.keep(((), ()), 0.0, 1e9, {"device_retired": "this device was retired"})
    run(["status", "-c", str(config)])
    assert "device_retired at 2001-09-09T01:46:40+00:00: this device was retired" in capsys.readouterr().err
    assert not next(each for each in examine(load_config(config), config) if each.check == "faults").ok
    kept.keep(((), ()), 1.0, 1e9)
    run(["status", "-c", str(config)])
    assert "device_retired" not in capsys.readouterr().err


def test_a_device_without_sensors_and_faults_writes_no_file(tmp_path: Path) -> None:
    KeptLives(tmp_path).keep(((), ()), 0.0, 1e9)
    assert load_lives(tmp_path) is None


def test_a_trial_reports_how_many_of_its_required_inferences_it_has() -> None:
    tried = TrialDevice(trial=True)
    tried.boot(lambda _: None)
    assert tried.agent.models["m"].message().detail == f"0 of {TrialPolicy().min_samples} inferences"


def test_a_device_whose_messages_are_refused_reports_that_until_they_are_accepted_or_it_has_another_key(
    device: Solo,
) -> None:
    def answered(boot: int, *, heard: bool) -> None:
        device.offer(topics.ack(NAME), encode(Ack(boot=boot, seq=1, heard=heard)))
        device.run(device.now + 60)

    boot = device.device.boot_id
    answered(boot + 1, heard=False)
    assert told(device) == {}, "said to another start"
    answered(boot, heard=False)
    assert list(told(device)) == ["certificate_invalid"]
    answered(boot, heard=True)
    assert told(device) == {}
