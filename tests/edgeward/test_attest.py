"""An attestation is checked offline: only a device's own recent statement about the right golden set counts."""

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization

from contract.attestation import (
    MAX_AGE_S,
    MAX_PROBE_AGE_S,
    Attestation,
    AttestationPage,
    AttestedDevice,
    AttestedVersion,
    Statement,
    signed_bytes,
)
from contract.errors import BadInput, Code
from contract.keys import signer_of
from contract.messages import GoldenProbe, Hardware, Heartbeat, ModelState, VersionRef
from contract.signatures import sign_message
from contract.wire import encode
from controller.config import Config, StorageConfig
from controller.fleet.twin import Twin
from controller.state import open_state
from controller.trust.certificates import CertificateAuthority, new_key, open_pki
from controller.trust.keys import private_pem
from controller.verbs.attest import attestation_page
from edgeward.attest import verify
from edgeward.cli.main import cli
from tests.controller.enrolment_worlds import enrolled

NOW = 1_800_000_000.0
HARDWARE = Hardware(machine="m", cpus=1, memory_mb=1, python="3", onnxruntime="1", agent="0")
V3 = VersionRef(release=3, digest="ab" * 32)
ASKED = AttestedVersion(model="weather", release=3, digest=V3.digest, golden="cd" * 32, rows=64)


def public_of(key: Any) -> str:
    kind = serialization.PublicFormat.SubjectPublicKeyInfo
    return str(key.public_key().public_bytes(serialization.Encoding.PEM, kind).decode())


def device(
    name: str,
    *,
    faults: dict[str, str] | None = None,
    passed: bool = True,
    at: float = NOW,
    probed: float = NOW,
    version: VersionRef = V3,
    key: Any = None,
    **probe: Any,
) -> Any:
    mine = new_key()
    told = {"digest": version.digest, "golden": ASKED.golden, "at": int(probed), "rows": 64} | probe
    golden = GoldenProbe(**told, missed=0 if passed else 9, passed=passed) if told["rows"] else None
    state = ModelState(model="weather", phase="steady", generation=1, stable=version, golden=golden)
    said = Heartbeat(
        protocol=1, device=name, boot=1, seq=1, uptime_s=1, hardware=HARDWARE, models=(state,), at=int(at),
        faults=faults or {},
    )  # fmt: skip
    signed = sign_message(said, signer_of(private_pem(key or mine)))
    return AttestedDevice(device=name, public_keys=(public_of(mine),), heartbeat=encode(signed).decode())


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    return open_pki(tmp_path_factory.mktemp("pki"), datetime(2026, 1, 1, tzinfo=UTC))


def page(
    authority: CertificateAuthority, *devices: AttestedDevice, after: str = "", following: str = ""
) -> AttestationPage:
    stated = Statement(made_at=NOW, after=after, next=following, versions=(ASKED,), devices=devices)
    text = encode(stated).decode()
    sign = signer_of(private_pem(authority.key))
    return AttestationPage(statement=text, authority=authority.pem, signature=sign(signed_bytes(text)))


def test_a_device_counts_only_by_its_own_fresh_signed_statement(authority: CertificateAuthority) -> None:
    bare = device("f")
    devices = (
        device("a"), device("b", passed=False), device("c", key=new_key()), device("d", at=NOW - MAX_AGE_S - 1),
        device("e", version=VersionRef(release=3, digest="ef" * 32)),
        AttestedDevice(device="f", public_keys=(), heartbeat=bare.heartbeat),
        AttestedDevice(device="g", public_keys=bare.public_keys, heartbeat=bare.heartbeat),
        AttestedDevice(device="h", public_keys=bare.public_keys, heartbeat="{"),
        device("i", rows=0), device("j", digest="00" * 32), device("k", golden="ee" * 32), device("l", rows=63),
        device("m", probed=NOW - MAX_PROBE_AGE_S - 1), device("n", probed=NOW + MAX_PROBE_AGE_S + 1),
    )  # fmt: skip
    found = verify(Attestation(pages=(page(authority, *devices),)), authority.pem.encode())
    assert dict(found.proven) == {("weather", 3, "cd" * 32, 64): 1}
    assert found.not_proven == {
        ("b", "weather"): "failed", ("c", ""): "forged", ("d", ""): "old", ("e", "weather"): "other_version",
        ("f", ""): "unsigned", ("g", ""): "other_device", ("h", ""): "forged", ("i", "weather"): "not_probed",
        ("j", "weather"): "not_probed", ("k", "weather"): "other_golden_set", ("l", "weather"): "other_golden_set",
        ("m", "weather"): "old_probe", ("n", "weather"): "old_probe",
    }  # fmt: skip


def test_a_statement_that_was_changed_after_the_device_signed_it_is_forged(authority: CertificateAuthority) -> None:
    said = device("a", passed=False)
    changed = msgspec.structs.replace(said, heartbeat=said.heartbeat.replace('passed":false', 'passed":true'))
    assert changed != said
    assert verify(Attestation(pages=(page(authority, changed),))).not_proven == {("a", ""): "forged"}


def test_a_page_that_the_authority_has_not_signed_is_refused(authority: CertificateAuthority, tmp_path: Path) -> None:
    good = page(authority, device("a"))
    cut = msgspec.structs.replace(good, statement=good.statement.replace('"release":3', '"release":4'))
    other = open_pki(tmp_path, datetime(2026, 1, 1, tzinfo=UTC))
    for pages, pinned in (((cut,), b""), ((good,), other.pem.encode())):
        with pytest.raises(BadInput) as caught:
            verify(Attestation(pages=pages), pinned)
        assert caught.value.code == Code.SIGNATURE_INVALID


def test_missing_and_repeated_pages_are_refused(authority: CertificateAuthority) -> None:
    first = page(authority, device("a"), following="a")
    second = page(authority, device("b"), after="a", following="b")
    third = page(authority, device("c"), after="b")
    assert sum(verify(Attestation(pages=(first, second, third))).proven.values()) == 3
    again = page(authority, device("a"), after="a")
    for pages in ((first,), (), (first, third), (second, third), (first, again), (first, second, third, third)):
        with pytest.raises(BadInput) as caught:
            verify(Attestation(pages=pages))
        assert caught.value.code == Code.METADATA_MISMATCH


def test_the_command_prints_how_many_devices_answered_and_names_the_others(
    authority: CertificateAuthority, tmp_path: Path
) -> None:
    file, pem = tmp_path / "fleet.json", tmp_path / "ca.pem"
    pem.write_text(authority.pem)
    file.write_bytes(msgspec.json.encode(Attestation(pages=(page(authority, device("a"), device("b", passed=False)),))))
    done = CliRunner().invoke(cli, ["attest", "verify", str(file), "--authority", str(pem)])
    assert done.exit_code == 1
    assert "1 device answered the 64 questions of weather v3 within tolerance" in done.output
    assert "1 not counted, failed: b weather" in done.output
    plain = json.loads(CliRunner().invoke(cli, ["attest", "verify", str(file), "--json"]).output)
    assert plain["proven"] == [
        {"model": "weather", "release": 3, "golden": "cd" * 32, "questions": 64, "devices": 1}
    ]  # fmt: skip


def test_a_device_that_says_that_no_probe_can_run_is_named_with_its_words(
    authority: CertificateAuthority, tmp_path: Path
) -> None:
    words = "weather: no golden probe for 20 days: an application holds updates"
    unable = device("a", probed=NOW - 20 * 86_400, faults={"golden_overdue": words})
    file = tmp_path / "fleet.json"
    file.write_bytes(msgspec.json.encode(Attestation(pages=(page(authority, unable, device("b")),))))
    done = CliRunner().invoke(cli, ["attest", "verify", str(file)])
    assert "1 not counted, old probe: a weather" in done.output
    assert f"a says: {words}" in done.output
    plain = json.loads(CliRunner().invoke(cli, ["attest", "verify", str(file), "--json"]).output)
    assert plain["overdue"] == [{"device": "a", "words": words}]


def test_a_controller_returns_what_its_devices_have_signed(tmp_path: Path) -> None:
    state = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path))))
    try:
        now = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=5)
        sign, _ = enrolled(state.enrolment, now, "cam-1")
        model = ModelState(model="m", phase="steady", generation=1, stable=V3, stable_proven=True)
        said = Heartbeat(
            protocol=1, device="cam-1", boot=1, seq=1, uptime_s=1, hardware=HARDWARE, models=(model,),
            at=int(time.time()),
        )  # fmt: skip
        state.journal.record("t", reported=[("cam-1", encode(sign_message(said, sign)))])
        state.world.durable.twins["cam-1"] = Twin("cam-1")
        made = attestation_page(state)
        found = verify(Attestation(pages=(made,)), state.enrolment.authorities.issuing.pem.encode())
        assert found.not_proven == {("cam-1", "m"): "other_version"}, (
            "signed and recent, but of an unregistered version"
        )
        assert '"devices":[]' in attestation_page(state, after="cam-1").statement
    finally:
        state.close()
