import json
import os
import socket
import time
import tomllib
from pathlib import Path

import msgspec
import pytest

from contract.errors import BadInput, Code, WorldError
from controller import cli
from controller.broker import taken_ports
from controller.broker.process import start_broker
from controller.broker.taken_ports import refuse_taken
from controller.config import BrokerConfig, Config, load_config
from controller.trust.keys import load_or_make_secret, load_or_make_signer

with_proc = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="names of programs come from Linux's /proc")


def test_the_shipped_file_is_the_defaults_of_the_code_key_by_key() -> None:
    path = Path(__file__).parents[2] / "configs" / "controller.toml"
    assert tomllib.loads(path.read_text()) == json.loads(msgspec.json.encode(Config()))
    assert load_config(path) == load_config(None) == Config()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[api]\nprot = 1\n", "prot"),
        ("[api]\nport = 70000\n", "$.api.port"),
        ('[fleet]\nsilent_s = "soon"\n', "$.fleet.silent_s"),
        ("[publish]\nchunk_bytes = 9000000\n", "$.publish.chunk_bytes"),
        ("[api", "Expected ']'"),
    ],
)
def test_a_misspelled_key_is_named_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(BadInput) as caught:
        load_config(path)
    assert said in caught.value.detail
    assert str(path) in caught.value.detail


def test_a_wrong_configuration_is_one_line_and_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["run", "-c", str(tmp_path / "none.toml")]) == 2
    assert cli.run(["run", "--data-dir", str(tmp_path / "d"), "--broker", "carrier-pigeon", "--port", "0"]) == 2
    assert "carrier-pigeon" in capsys.readouterr().err


@with_proc
def test_a_used_port_is_reported_at_once_with_its_program_and_before_a_broker_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taken_ports, "LOOK_EVERY_S", 1e6)  # whoever waits for another program never comes back
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(WorldError) as caught:
            start_broker(BrokerConfig(url="embedded", port=port), tmp_path)
    assert caught.value.code == Code.PORT_TAKEN
    name = Path("/proc/self/comm").read_text().strip()
    assert f"port {port} of 127.0.0.1 is taken by {name} (process {os.getpid()})" in caught.value.detail
    assert "--broker-port" in caught.value.detail


@with_proc
def test_a_broker_of_the_same_directory_that_is_ending_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        listener = taken_ports.listener_on(port)
        assert listener is not None
        (argument,) = Path("/proc/self/cmdline").read_bytes().split(b"\0")[1:2]
        started_with = Path(os.fsdecode(argument)).resolve().parent
        assert listener.is_of(started_with)
        assert not listener.is_of(tmp_path)
        monkeypatch.setattr(time, "sleep", lambda _: taken.close())
        refuse_taken("127.0.0.1", port, "", own=started_with)


def test_secrets_are_created_once_and_readable_by_their_owner_only(tmp_path: Path) -> None:
    first = load_or_make_signer(tmp_path / "k.pem")
    assert load_or_make_signer(tmp_path / "k.pem").public_key == first.public_key
    assert load_or_make_secret(tmp_path / "token", b"one") == load_or_make_secret(tmp_path / "token", b"two") == "one"
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    (tmp_path / "bad.pem").write_text("nonsense")
    with pytest.raises(BadInput):
        load_or_make_signer(tmp_path / "bad.pem")
