"""A device is moved to another controller by a step on the device itself, and keeps every model that it serves."""

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec.structs import replace

from agent import cli
from agent.adapters.directory_lock import lock_directory
from agent.adapters.posix_disk import PosixDisk
from agent.adapters.timely import open_url
from agent.config import load_config
from agent.core.admission import HighWater
from agent.core.model import Assignment, Record
from agent.flash.store import DeviceRecord, Store
from agent.trust import adopt as module
from agent.trust import enrol as enrol_module
from agent.trust.credentials import load_root
from agent.trust.enrol import OpenUrl
from contract.desired import TrialPolicy
from contract.enrolment import Certificate, Claim
from contract.errors import BadInput, Code
from contract.toml_edit import with_values
from contract.trust.chain import trust_root
from contract.trust.repository import ONLINE, create
from contract.wire import encode
from firmware_sim.fleet_keys import FIRST, WORLD_BEGAN, signer
from firmware_sim.models import make_model

OTHER = create(
    [signer("other-root")], 1, signer("other"), {name: signer(name).public_key for name in ONLINE}, WORLD_BEGAN
)
STABLE = Assignment(model="m", generation=7, manifest=make_model(1, "good").manifest, policy=TrialPolicy())
OLD = """\
# Ada's own words, and they stay.
[device]
name = "cam-7"
state_dir = "{home}/state"
labels = {{ site = "north" }}

[broker]  # of the old controller
url = "mqtts://old.example:8883"
ca_file = "{home}/ca.pem"   # from enrolment

[trust]
root_file = "root.json"

[[sensor]]
kind = "stdin"
model = "m"
url_like = "not a key of the broker"
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A device that follows the first fleet and serves v1 of m."""
    (tmp_path / "agent.toml").write_text(
        OLD.format(home=tmp_path).replace('url_like = "not a key of the broker"\n', "")
    )
    (tmp_path / "root.json").write_text(FIRST["1.root.json"])
    store = Store(PosixDisk(tmp_path / "state"))
    store.save_record("m", Record(generation=7, stable=STABLE))
    mark = HighWater(keyids=("old director",), version=2**52)
    store.save_device(DeviceRecord(boots=4, high_water=mark, numbered_by=("old director",), min_releases={"m": 9}))
    trusted = trust_root(FIRST["1.root.json"])
    store.save_trusted(replace(trusted, roles=(("m", "text"),)), replace(trusted, root=""))
    claim = Claim(
        url="http://new.example",
        token="edc_x",
        device="cam-7",
        broker_url="mqtts://new.example:8883",
        ca="the new authority",
        root=OTHER["1.root.json"],
    )
    (tmp_path / "claim.json").write_bytes(encode(claim))
    return tmp_path


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[ec.EllipticCurvePrivateKey]:
    """Answers as the new controller and records the keys of the requests."""
    keys: list[ec.EllipticCurvePrivateKey] = []

    def certificate_for(claim: Claim, key: ec.EllipticCurvePrivateKey, _: OpenUrl) -> Certificate:
        keys.append(key)
        return Certificate(device=claim.device, certificate="the certificate", ca=claim.ca)

    monkeypatch.setattr(module, "certificate_for", certificate_for)
    return keys


def moved(home: Path) -> Path:
    config = home / "agent.toml"
    return module.adopt(home / "claim.json", load_config(config), config, PosixDisk, open_url)


def test_adopting_replaces_the_trust_state_and_keeps_every_model(home: Path, asked: list[Any]) -> None:
    credentials = moved(home)
    store = Store(PosixDisk(home / "state"))
    assert store.load_records() == ({"m": Record(generation=7, stable=STABLE)}, ())
    assert store.load_trusted() == (None, False)
    assert store.load_roles() == {}
    record, _ = store.load_device()
    assert record is not None
    assert (record.boots, record.min_releases) == (4, {}), "what the old signers forbade is not the new ones' word"
    assert record.numbered_by == ("old director",), "so that the new director's numbers begin anew"
    config = load_config(home / "agent.toml")
    assert load_root(config, home / "agent.toml").root == OTHER["1.root.json"]
    assert config.broker.url == "mqtts://new.example:8883"
    assert config.enrolment.url == "http://new.example"
    key = serialization.load_pem_private_key(Path(config.broker.key_file).read_bytes(), None)
    assert key.public_key() == asked[0].public_key()  # type: ignore[union-attr]
    assert Path(config.broker.ca_file).read_text() == "the new authority"
    assert (credentials / "device.key").stat().st_mode & 0o077 == 0
    assert (home / "ca.pem").exists() is False
    assert (home / "root.json").read_text() == FIRST["1.root.json"], "what was there is not touched"


def test_adopting_changes_no_other_line_of_the_configuration(home: Path, asked: list[Any]) -> None:
    before = load_config(home / "agent.toml")
    moved(home)
    text, after = (home / "agent.toml").read_text(), load_config(home / "agent.toml")
    assert text.startswith("# Ada's own words, and they stay.\n[device]")
    assert (after.device, after.sensor, after.serving) == (before.device, before.sensor, before.serving)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"device": "cam-8"}, Code.CONFIG_INVALID),
        ({"root": "no root"}, Code.CONFIG_INVALID),
        ({"url": "ftp://x"}, Code.CONFIG_INVALID),
    ],
)
def test_a_claim_that_is_not_for_this_device_changes_nothing(
    home: Path, asked: list[Any], change: dict[str, str], code: Code
) -> None:
    files = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    (home / "claim.json").write_text(json.dumps(json.loads((home / "claim.json").read_text()) | change))
    with pytest.raises(BadInput) as refused:
        moved(home)
    assert refused.value.code == code
    assert {path: path.read_bytes() for path in files if path.name != "claim.json"} == {
        path: raw for path, raw in files.items() if path.name != "claim.json"
    }
    assert asked == []


def test_a_controller_that_refuses_the_claim_leaves_the_device_with_its_old_one(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> Certificate:
        raise BadInput(Code.CLAIM_REFUSED, "used before")

    monkeypatch.setattr(module, "certificate_for", refuse)
    text = (home / "agent.toml").read_text()
    with pytest.raises(BadInput, match="claim_refused"):
        moved(home)
    assert (home / "agent.toml").read_text() == text
    assert Store(PosixDisk(home / "state")).load_trusted()[0] is not None


def test_a_configuration_that_a_program_cannot_change_must_be_changed_by_a_person(home: Path, asked: list[Any]) -> None:
    text = f'device = {{ name = "cam-7", state_dir = "{home}/state" }}\nbroker = {{ url = "mqtt://old:1883" }}\n'
    (home / "agent.toml").write_text(text)
    with pytest.raises(BadInput, match=r"write \[broker\] url"):
        moved(home)
    assert (home / "agent.toml").read_text() == text
    assert asked == [], "the claim is not used up"


def test_adopting_is_refused_while_the_agent_runs(
    home: Path, asked: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["adopt", str(home / "claim.json"), "-c", str(home / "agent.toml")]
    lock = lock_directory(home / "state")
    assert cli.run(call) == 2
    assert "another running agent" in capsys.readouterr().err
    lock.close()
    assert cli.run(call) == 0
    assert "to start it again: edgeward-agent run" in capsys.readouterr().out


def test_keys_are_changed_in_their_own_table_only() -> None:
    text = '[a]\nurl = "1"\nb = 2\n[[c]]\nurl = "3"\n[d]\n"url" = "4"\n'
    changed = with_values(text, {"a": {"url": 'x"y'}, "d": {"url": "z"}, "new": {"k": "v"}})
    assert changed == '[a]\nurl = "x\\"y"\nb = 2\n[[c]]\nurl = "3"\n[d]\nurl = "z"\n\n[new]\nk = "v"\n'
    assert with_values("", {"a": {"k": "v"}}).endswith('[a]\nk = "v"\n')


def test_a_second_move_does_not_change_the_credentials_of_the_first(home: Path, asked: list[Any]) -> None:
    first, second = moved(home), moved(home)
    assert (first.name, second.name) == ("controller-2", "controller-3")
    assert load_config(home / "agent.toml").broker.key_file == str(second / "device.key")


def test_new_hardware_is_enrolled_with_the_labels_of_its_claim(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    claim = json.loads((home / "claim.json").read_text()) | {"labels": {"site": 'north "3"', "floor": "2"}}
    (home / "claim.json").write_text(json.dumps(claim))
    answer = Certificate(device="cam-7", certificate="the certificate", ca="")
    monkeypatch.setattr(enrol_module, "certificate_for", lambda *_: answer)
    path = enrol_module.enrol(home / "claim.json", home / "fresh", PosixDisk, open_url)
    assert load_config(path).device.labels == {"site": 'north "3"', "floor": "2"}
