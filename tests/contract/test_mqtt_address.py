"""The broker's address: which forms are accepted, the port that each means, and refusals that show no password."""

import pytest

from contract.errors import BadInput, Code
from contract.mqtt_address import MqttAddress, parse_mqtt_address


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("mqtt://broker", MqttAddress("broker", 1883, tls=False)),
        ("mqtts://broker", MqttAddress("broker", 8883, tls=True)),
        ("mqtts://[::1]:42", MqttAddress("::1", 42, tls=True)),
        ("mqtt://edge:p%40ss@broker:1", MqttAddress("broker", 1, tls=False, username="edge", password="p@ss")),
    ],
)
def test_an_address_has_host_port_and_user(url: str, address: MqttAddress) -> None:
    assert parse_mqtt_address(url) == address


@pytest.mark.parametrize("url", ["", "http://broker", "mqtt://", "mqtt://broker:99999", "mqtt://broker:x", "broker"])
def test_an_invalid_address_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_mqtt_address(url)
    assert caught.value.code == Code.CONFIG_INVALID
    assert "broker.url" in caught.value.detail


def test_a_refusal_does_not_contain_the_password() -> None:
    with pytest.raises(BadInput) as caught:
        parse_mqtt_address("amqp://edge:secret@broker")
    assert "secret" not in str(caught.value)
