"""A broker that gives the reason why it ends a session: reason 0x8E of MQTT 5, `Session taken over`.

The broker here is ten lines, because Mosquitto 2.0.11 and the embedded broker end such a session without a reason.
"""

import socket
import threading
from queue import SimpleQueue
from typing import Any

import pytest

from agent.adapters.mqtt.paho_link import PahoLink
from agent.config import Broker
from agent.stimuli import LinkDown, LinkUp

CONNACK = bytes([0x20, 3, 0, 0, 0])
TAKEN_OVER = bytes([0xE0, 1, 0x8E])


def take_over_once(server: socket.socket) -> None:
    with server.accept()[0] as connection:
        connection.recv(4096)
        connection.sendall(CONNACK)
        connection.sendall(TAKEN_OVER)


def test_a_device_whose_session_is_taken_over_logs_that_a_copy_may_run(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("ERROR", logger="edgeward.link")
    heard = SimpleQueue[Any]()
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=take_over_once, args=(server,), daemon=True).start()
        link = PahoLink(Broker(url=f"mqtt://127.0.0.1:{server.getsockname()[1]}"), "cam", 1, heard.put)
        link.start()
        try:
            assert isinstance(heard.get(timeout=5), LinkUp)
            assert isinstance(heard.get(timeout=5), LinkDown)
            assert "does a copy of this device run?" in caplog.text
        finally:
            link.hand_over()
