import json
import tomllib
from pathlib import Path

import msgspec
import pytest

from agent import cli
from agent.adapters.posix_disk import PosixDisk
from agent.config import (
    Capture,
    Config,
    Device,
    FileSink,
    ImagesSensor,
    Pin,
    ReplaySensor,
    Sensor,
    SerialSensor,
    SoundSensor,
    StdinSensor,
    TopicSensor,
    TopicSink,
    WebhookSink,
    load_config,
)
from agent.core.model import Assignment, Record
from agent.flash.store import Store
from agent.trust.credentials import load_root
from contract.desired import TrialPolicy
from contract.errors import BadInput, Code
from contract.messages import UpdateOutcome
from firmware_sim.fleet_keys import FIRST, TRUSTED
from firmware_sim.models import make_model

CONFIGS = Path(__file__).parents[2] / "configs"


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "agent.toml"
    path.write_text(text)
    return path


def refused(tmp_path: Path, text: str) -> str:
    with pytest.raises(BadInput) as caught:
        load_config(write(tmp_path, text))
    assert caught.value.code == Code.CONFIG_INVALID
    assert str(tmp_path) in caught.value.detail
    return caught.value.detail


def test_the_shipped_file_is_the_defaults_of_the_code_key_by_key() -> None:
    plain = tomllib.loads((CONFIGS / "agent.toml").read_text())
    defaults = msgspec.json.decode(msgspec.json.encode(Config(device=Device(name="my-device"))))
    defaults.pop("sensor")
    defaults.pop("capture")
    defaults.pop("pin")
    assert plain == defaults


def test_the_capture_described_in_the_shipped_file_is_valid() -> None:
    lines = [line.removeprefix("# ") for line in (CONFIGS / "agent.toml").read_text().splitlines()]
    start = lines.index("[[capture]]")
    described = tomllib.loads("\n".join(lines[start : lines.index("", start)]))["capture"]
    assert msgspec.convert(described, tuple[Capture, ...]) == (Capture(model="weather"),)
    assert set(described[0]) == set(Capture.__struct_fields__)


def test_the_pin_described_in_the_shipped_file_is_valid() -> None:
    lines = [line.removeprefix("# ") for line in (CONFIGS / "agent.toml").read_text().splitlines()]
    start = lines.index("[[pin]]")
    described = tomllib.loads("\n".join(lines[start : lines.index("", start)]))["pin"]
    assert msgspec.convert(described, tuple[Pin, ...]) == (Pin(model="weather", release=3),)


def test_the_sensors_described_in_the_shipped_file_are_all_sensors() -> None:
    lines = [line.removeprefix("# ") for line in (CONFIGS / "agent.toml").read_text().splitlines()]
    start = lines.index("[[sensor]]")
    end = next(number for number, line in enumerate(lines) if line.startswith("A sensor's predictions go to"))
    described = msgspec.convert(
        tomllib.loads("\n".join(lines[start : end - 1]))["sensor"],
        tuple[Sensor, ...],
    )
    assert described == (
        ReplaySensor(model="weather", path="weather.csv"),
        TopicSensor(model="weather", topic="plant/7/weather"),
        StdinSensor(model="weather"),
        SerialSensor(model="weather", path="/dev/ttyUSB0"),
        ImagesSensor(model="weather", path="/var/spool/camera", width=8, height=8),
        SoundSensor(model="vad", path="/run/microphone", rate_hz=16_000, clip_s=0.036, input="input"),
    )


def test_the_sinks_described_in_the_shipped_file_are_all_sinks() -> None:
    lines = [line.removeprefix("# ") for line in (CONFIGS / "agent.toml").read_text().splitlines()]
    start = lines.index("[sensor.sink]")
    text = "\n".join(lines[start:]).replace("[sensor.sink]", "[[sink]]").replace("\n#", "\n")
    assert msgspec.convert(tomllib.loads(text)["sink"], tuple[FileSink | TopicSink | WebhookSink, ...]) == (
        FileSink(path="predictions.jsonl"),
        TopicSink(topic="plant/7/predictions"),
        WebhookSink(url="http://127.0.0.1:9000/predictions"),
    )


@pytest.mark.parametrize(
    ("listen", "said"),
    [
        ("0.0.0.0:8000", "leaves this device"),
        ("example.org:80", "leaves this device"),
        ("127.0.0.1", "unix:/run/x.sock"),
        ("127.0.0.1:99999", "unix:/run/x.sock"),
        ("unix:serving.sock", "unix:/run/x.sock"),
    ],
)
def test_requests_without_identity_are_accepted_from_this_device_only(tmp_path: Path, listen: str, said: str) -> None:
    assert said in refused(tmp_path, f'[device]\nname = "a"\n[serving]\nlisten = "{listen}"\n')


@pytest.mark.parametrize("listen", ["", "127.0.0.1:8000", "localhost:0", "[::1]:8000", "unix:/run/serving.sock"])
def test_the_agent_may_listen_on_loopback_and_unix_sockets(tmp_path: Path, listen: str) -> None:
    text = f'[device]\nname = "a"\n[serving]\nlisten = "{listen}"\n'
    assert load_config(write(tmp_path, text)).serving.listen == listen


def test_a_misspelled_key_is_named_with_its_table(tmp_path: Path) -> None:
    detail = refused(tmp_path, '[device]\nname = "a"\n[broker]\nurll = "mqtt://x"\n')
    assert "urll" in detail
    assert "broker" in detail


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "device"),
        ("[device]\nname = 7\n", "$.device.name"),
        ('[device]\nname = "A B"\n', "1 to 64 letters"),
        ('[device]\nname = "a"\n[intervals]\nheartbeat_s = 0\n', "$.intervals.heartbeat_s"),
        ('[device]\nname = "a"\n[[sensor]]\nkind = "camera"\nmodel = "m"\n', "camera"),
        ('[device]\nname = "a"\n[[sensor]]\nkind = "replay"\nmodel = "m"\npath = "x"\nrate_hz = -1\n', "rate_hz"),
        ("[device\n", "line 1"),
    ],
    ids=["empty", "type", "name", "range", "kind", "rate", "syntax"],
)
def test_a_wrong_value_is_refused_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    assert said in refused(tmp_path, text)


def test_a_missing_or_wrong_trust_key_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, '[device]\nname = "a"\n')
    for content in (None, b"{}", b"nonsense"):
        if content is not None:
            (tmp_path / "root.json").write_bytes(content)
        with pytest.raises(BadInput) as caught:
            load_root(load_config(path), path)
        assert "root.json" in caught.value.detail
    (tmp_path / "root.json").write_text(FIRST["1.root.json"])
    assert load_root(load_config(path), path) == TRUSTED


@pytest.fixture
def configured(tmp_path: Path) -> Path:
    (tmp_path / "root.json").write_text(FIRST["1.root.json"])
    state = tmp_path / "state"
    return write(tmp_path, f'[device]\nname = "cam-1"\nstate_dir = "{state}"\n[broker]\nurl = "mqtt://127.0.0.1:1"\n')


def test_status_reads_the_disk_of_an_agent_that_does_not_run(
    configured: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["status", "-c", str(configured)]) == 0
    assert "no model yet" in capsys.readouterr().out
    v2 = Assignment(model="m", generation=2, manifest=make_model(2, "good").manifest, policy=TrialPolicy())
    outcome = UpdateOutcome(
        generation=3, version=v2.ref, result="rolled_back", code="health_errors", detail="3 of 3; the first: x"
    )
    store = Store(PosixDisk(configured.parent / "state"))
    store.save_record("m", Record(generation=3, stable=v2, outcome=outcome))
    assert cli.run(["status", "-c", str(configured)]) == 0
    assert capsys.readouterr().out == "m: stable v2, generation 3, v2 rolled_back: health_errors 3 of 3; the first: x\n"
    assert cli.run(["status", "--json", "-c", str(configured)]) == 0
    assert json.loads(capsys.readouterr().out)["m"]["generation"] == 3


def test_status_says_when_a_record_is_damaged(configured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    PosixDisk(configured.parent / "state").write("record-m", b"nonsense")
    assert cli.run(["status", "-c", str(configured)]) == 1
    assert "set aside" in capsys.readouterr().err


def test_doctor_finds_and_names_faults(configured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["doctor", "--json", "-c", str(configured)]) == 1
    findings = {found["check"]: found for found in json.loads(capsys.readouterr().out)}
    assert {name for name, found in findings.items() if not found["ok"]} == {"broker"}
    assert set(findings) == {
        "packages",
        "onnxruntime",
        "private parts",
        "root of trust",
        "state directory",
        "clock",
        "certificates",
        "faults",
        "port",
        "sensors",
        "sinks",
        "broker",
    }
    (configured.parent / "root.json").unlink()
    assert cli.run(["doctor", "-c", str(configured)]) == 1
    assert "FAIL root of trust" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["doctor", "status"])
def test_lines_fit_the_terminal_and_a_pipe_gets_whole_lines(
    configured: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    moved = configured.parent / ("a-long-name-of-a-directory" * 6)
    (configured.parent / "root.json").rename(moved)
    for columns, wide in (("80", False), ("", True)):
        monkeypatch.setenv("COLUMNS", columns)
        cli.run([command, "-c", str(configured)])
        done = capsys.readouterr()
        lines = [line for line in (done.out + done.err).splitlines() if " " in line.strip()]
        assert wide == any(len(line) > 80 for line in lines), lines


def test_a_wrong_configuration_is_one_line_and_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["run", "-c", str(tmp_path / "none.toml")]) == 2
    assert "No such file" in capsys.readouterr().err
