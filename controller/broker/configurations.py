"""The configuration of a started broker without TLS, and the password that every client needs.

Decides both. Refuses to know processes. The password is written before the broker starts, so no client ever connects
without it. Devices receive it within the broker's address.
"""

import base64
import getpass
import hashlib
import secrets
import socket
import sys
import time
from pathlib import Path

from contract.errors import Code, WorldError
from controller.broker.memory import memory_limit_bytes
from controller.config import BrokerConfig
from controller.registry.atomic_file import replace_file
from controller.trust.keys import load_or_make_secret, write_secret

USER = "edgeward"
ROUNDS = 101
"""Rounds of PBKDF2, as in mosquitto_passwd. The password is 192 random bits, so more rounds would not protect it
better."""

_MOSQUITTO = """\
# Written by edgeward-controller at every start: changes here are lost.
listener {port} {host}
allow_anonymous false
password_file {directory}/mosquitto.passwords
set_tcp_nodelay true
max_packet_size 1048576
max_inflight_messages 100
max_queued_messages 100000
memory_limit {memory_bytes}
max_keepalive 600
persistence true
persistence_location {directory}/
autosave_interval 60
log_dest stderr
log_type error
log_type warning
"""

_EMBEDDED = """\
# Written by edgeward-controller. MQTT 3.1.1 and 5 need a listener each.
id = 0
[router]
id = 0
max_connections = 10010
max_outgoing_packet_count = 20000
max_segment_size = 104857600
max_segment_count = 10
[v4.1]
name = "mqtt-3"
listen = "{host}:{v4_port}"
next_connection_delay_ms = 0
    [v4.1.connections]
    connection_timeout_ms = 60000
    max_payload_size = 1048576
    max_inflight_count = 100
    dynamic_filters = true
        [v4.1.connections.auth]
        edgeward = "{password}"
[v5.1]
name = "mqtt-5"
listen = "{host}:{port}"
next_connection_delay_ms = 0
    [v5.1.connections]
    connection_timeout_ms = 60000
    max_payload_size = 1048576
    max_inflight_count = 100
    dynamic_filters = true
        [v5.1.connections.auth]
        edgeward = "{password}"
"""


def has_password(directory: Path) -> bool:
    """Whether the broker in `directory` has had a password from an earlier start."""
    return (directory / "password").exists()


def password_of(directory: Path) -> str:
    """Returns the password of the broker in `directory`.

    At the first start it is made there, in a file of mode 0600.
    """
    return load_or_make_secret(directory / "password", secrets.token_urlsafe(24).encode())


def mosquitto_command(path: str, config: BrokerConfig, port: int, directory: Path, password: str) -> list[str]:
    """Writes Mosquitto's files. Returns the command that starts it."""
    passwords = directory / "mosquitto.passwords"
    passwords.unlink(missing_ok=True)
    write_secret(passwords, _hashed(USER, password, secrets.token_bytes(12)))
    text = _MOSQUITTO.format(
        host=config.host, port=port, directory=directory.resolve(), memory_bytes=memory_limit_bytes()
    )
    file = directory / "mosquitto.conf"
    replace_file(file, (text + ("user root\n" if getpass.getuser() == "root" else "")).encode())
    return [path, "-c", str(file)]


def embedded_command(config: BrokerConfig, port: int, directory: Path, password: str) -> list[str]:
    """Writes the embedded broker's file. Returns the command that starts it."""
    file = directory / "embedded.toml"
    file.unlink(missing_ok=True)
    text = _EMBEDDED.format(host=config.host, port=port, v4_port=free_port(), password=password)
    write_secret(file, text.encode())
    return [sys.executable, "-I", "-m", "iotcore", "--config", str(file), "--log-level", "CRITICAL"]


def free_port() -> int:
    """Returns a free TCP port below the ephemeral range. WorldError `broker_unreachable` if there is none."""
    for port in range(20_000 + time.time_ns() % 10_000, 32_000):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise WorldError(Code.BROKER_UNREACHABLE, "no free port between 20000 and 32000")


def _hashed(user: str, password: str, salt: bytes) -> bytes:
    """Returns a line of Mosquitto's password file (mosquitto_passwd(1), format 7: PBKDF2 with SHA-512)."""
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, ROUNDS)
    encoded = (base64.b64encode(part).decode() for part in (salt, digest))
    return f"{user}:$7${ROUNDS}${'$'.join(encoded)}\n".encode()
