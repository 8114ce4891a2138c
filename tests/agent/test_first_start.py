"""The first start of a device with a claim: a key and a certificate, once, and the claim is deleted."""

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from agent.adapters.posix_disk import PosixDisk
from agent.adapters.timely import open_url
from agent.trust import enrol as module
from agent.trust.enrol import OpenUrl, enrol_at_first_start
from contract.enrolment import Certificate, Claim
from contract.errors import BadInput, Code, WorldError

ROOT = (Path(__file__).parents[1] / "data" / "wire" / "root.json").read_text()


@pytest.fixture
def claim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "claim.json"
    given = {"url": "http://c", "token": "edc_x", "device": "cam", "broker_url": "mqtts://b", "ca": "AUTHORITY"}
    file.write_text(json.dumps({**given, "root": ROOT}))
    monkeypatch.setattr(module, "trust_root", lambda _: None)
    monkeypatch.setattr(module, "certificate_for", certificate_for)
    return file


def certificate_for(claim: Claim, _key: ec.EllipticCurvePrivateKey, _open_url: OpenUrl) -> Certificate:
    return Certificate(device=claim.device, certificate="CERTIFICATE", ca=claim.ca)


def test_the_first_start_uses_the_claim_and_later_starts_do_not(claim: Path) -> None:
    home = claim.parent
    assert enrol_at_first_start(claim, PosixDisk, open_url)
    assert (home / "device.pem").read_text() == "CERTIFICATE"
    assert (home / "ca.pem").read_text() == "AUTHORITY"
    key = (home / "device.key").read_bytes()
    assert not claim.exists(), "it is used up"
    assert not enrol_at_first_start(claim, PosixDisk, open_url)
    assert (home / "device.key").read_bytes() == key


def test_a_power_cut_before_the_claim_is_removed_loses_no_certificate(claim: Path) -> None:
    text = claim.read_text()
    enrol_at_first_start(claim, PosixDisk, open_url)
    claim.write_text(text)
    key = (claim.parent / "device.key").read_bytes()
    assert not enrol_at_first_start(claim, PosixDisk, open_url)
    assert (claim.parent / "device.key").read_bytes() == key
    assert not claim.exists()


def test_a_controller_that_is_unreachable_is_asked_again_at_the_next_start(
    claim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> Certificate:
        raise WorldError(Code.CONTROLLER_UNREACHABLE, "http://c: refused")

    monkeypatch.setattr(module, "certificate_for", away)
    with pytest.raises(WorldError):
        enrol_at_first_start(claim, PosixDisk, open_url)
    assert claim.exists()
    monkeypatch.setattr(module, "certificate_for", certificate_for)
    assert enrol_at_first_start(claim, PosixDisk, open_url)


def test_a_missing_claim_is_named_by_its_file(claim: Path) -> None:
    claim.unlink()
    with pytest.raises(BadInput, match=r"claim\.json: No such file"):
        enrol_at_first_start(claim, PosixDisk, open_url)
