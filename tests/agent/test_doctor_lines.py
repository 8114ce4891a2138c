"""The doctor's lines about sensors, sinks and the local port, log lines in JSON, and --version."""

import json
import logging
import socket
import sys
import threading
from pathlib import Path

import pytest

import agent.cli
import controller.cli
from agent.adapters.kept_lives import KeptLives
from agent.adapters.local_port import answers_at
from agent.config import load_config
from agent.doctor import examine
from contract.messages import SensorState, SinkState
from tests.agent.test_config_and_cli import configured

__all__ = ["configured"]
SENSORS = (
    SensorState(name="serial-1", kind="serial", model="m", state="running", rows=7, answered=7),
    SensorState(name="stdin-2", kind="stdin", model="m", state="waiting", error="no such device"),
)
SINKS = (SinkState(name="file-1", kind="file", state="failing", error="disk full"),)


def test_each_sensor_and_each_sink_has_a_line_of_its_own(configured: Path) -> None:
    state = configured.parent / "state"
    state.mkdir(exist_ok=True)
    KeptLives(state).keep((SENSORS, SINKS), 1.0, 2.0)
    found = list(examine(load_config(configured), configured, frozenset({"sensors", "sinks"})))
    assert [(each.check, each.ok, each.detail.split()[0]) for each in found] == [
        ("sensor", True, "serial-1"), ("sensor", False, "stdin-2"), ("sink", False, "file-1:"),
    ]  # fmt: skip
    assert "no such device" in found[1].detail


def test_a_sensor_that_has_not_run_yet_has_a_line_that_says_whether_its_source_exists(configured: Path) -> None:
    there, gone = configured, configured.parent / "gone.csv"
    sensors = (f'[[sensor]]\nkind = "replay"\nmodel = "m"\npath = "{path}"\n' for path in (there, gone))
    configured.write_text("".join((configured.read_text(), *sensors, '[[sensor]]\nkind = "stdin"\nmodel = "m"\n')))
    found = list(examine(load_config(configured), configured, frozenset({"sensors"})))
    assert [(each.ok, each.detail) for each in found] == [
        (True, "replay-1 of m: has not run yet"),
        (False, f"replay-2 of m: has not run yet, and {gone} is not there"),
        (True, "stdin-3 of m: has not run yet"),
    ]


def test_a_device_that_is_not_enrolled_is_reported_as_such_without_missing_files(configured: Path) -> None:
    own = '[broker]\ncert_file = "x.pem"\nkey_file = "x.key"\nca_file = "ca.pem"\n'
    text = configured.read_text().replace("[broker]\n", own).replace("mqtt://", "mqtts://")
    configured.write_text(f'{text}[enrolment]\nurl = "http://127.0.0.1:1"\nclaim_file = "claim.json"\n')
    found = examine(load_config(configured), configured, frozenset({"certificates", "broker"}))
    assert [(each.ok, each.detail.partition(":")[0]) for each in found] == [
        (False, "not enrolled yet"), (False, "not tried"),
    ]  # fmt: skip


def v2(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\n\r\n" + body


@pytest.mark.parametrize(
    ("answer", "ok", "words"),
    [
        (v2(b'{"name": "edgeward-agent", "device": "pi-1"}'), True, "answers as the model server of pi-1"),
        (v2(b'{"name": "edgeward-agent"}'), True, "answers as the model server of pi-1"),
        (v2(b'{"name": "edgeward-agent", "device": "pi-2"}'), False, "another agent (pi-2) answers there"),
        (v2(b'{"name": "triton", "version": "2"}'), False, "another model server (triton) answers there"),
        (v2(b"<p>It works!"), False, "another program"),
        (b"220 mail\r\n", False, "another program"),
    ],
)
def test_doctor_finds_which_program_listens_on_the_local_port(answer: bytes, ok: bool, words: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            link = server.accept()[0]
            link.recv(1000)
            link.sendall(answer)
            link.close()

        threading.Thread(target=serve, daemon=True).start()
        found = answers_at("127.0.0.1", server.getsockname()[1], "pi-1")
    assert (found[0], words in found[1]) == (ok, True), found


def test_a_free_or_unconfigured_port_is_no_fault(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert answers_at("127.0.0.1", port, "pi-1")[0]
    assert answers_at(str(tmp_path / "x.sock"), 0, "pi-1")[0]
    assert answers_at("", 0, "pi-1") == (True, "none is asked for: serving.listen")


def test_a_json_log_line_has_the_fields_that_a_collector_needs() -> None:
    try:
        raise ValueError("wrong")
    except ValueError:
        record = logging.LogRecord("edgeward.agent", logging.ERROR, "f", 1, "a %s", ("row",), sys.exc_info())
    line = json.loads(controller.cli.JsonLines().format(record))
    assert (line["level"], line["logger"], line["message"]) == ("error", "edgeward.agent", "a row")
    assert "ValueError: wrong" in line["trace"]
    assert line["at"].endswith("+00:00")


@pytest.mark.parametrize("program", [agent.cli, controller.cli])
def test_a_program_prints_its_version(program: object, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        program.run(["--version"])  # type: ignore[attr-defined]
    assert capsys.readouterr().out.startswith("edgeward-")
