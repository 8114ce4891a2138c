"""What a started broker requires of its clients: a certificate, unless devices of an earlier start have a password."""

from pathlib import Path

import msgspec
import pytest

from contract.errors import BadInput
from controller.broker import process
from controller.broker.configurations import password_of
from controller.broker.process import start_broker, wants_certificates
from controller.config import BrokerConfig

MOSQUITTO = "/usr/sbin/mosquitto"
AUTO = BrokerConfig()


def asks(directory: Path, mosquitto: str | None = MOSQUITTO, config: BrokerConfig = AUTO) -> bool:
    return wants_certificates(config, directory, mosquitto, auto=True)


def test_a_first_start_with_mosquitto_requires_certificates_and_with_the_embedded_broker_a_password(
    tmp_path: Path,
) -> None:
    assert asks(tmp_path)
    assert not asks(tmp_path, mosquitto=None)


def test_devices_with_a_password_keep_it_and_the_start_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("WARNING", logger="edgeward.broker")
    password_of(tmp_path)
    assert not asks(tmp_path)
    assert "enrol them, then set broker.tls = true" in caplog.text
    assert asks(tmp_path, config=BrokerConfig(tls=True))


def test_devices_with_certificates_do_not_use_a_broker_that_checks_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tls").mkdir()
    assert asks(tmp_path, mosquitto=None)
    assert not asks(tmp_path, config=BrokerConfig(tls=False))
    monkeypatch.setattr(process, "find_mosquitto", lambda: None)
    with pytest.raises(BadInput, match="devices have certificates"):
        start_broker(BrokerConfig(tls=True), tmp_path)


@pytest.mark.parametrize(
    "topic", ["edgeward/v1/#", "edgeward", "edgeward-blobs/#", "#", "+/rows", "$SYS/#", "a b", "a/#/b", "a\n"]
)
def test_no_topic_of_edgeward_is_opened_to_everybody(topic: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"topics": [topic]}, BrokerConfig)


@pytest.mark.parametrize("topic", ["plant/#", "plant/+/rows", "edgeward-plant/rows", "rows"])
def test_topics_for_rows_and_predictions_are_opened(topic: str) -> None:
    assert msgspec.convert({"topics": [topic]}, BrokerConfig).topics == (topic,)
