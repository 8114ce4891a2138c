"""Renewal on the device: what is durable when, whom the device trusts, how often it asks."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509

from agent.adapters import renewer
from agent.adapters.posix_disk import PosixDisk
from agent.config import Config, Device
from agent.trust.keypair import AUTHORITIES, NEXT, PAIR, KeyPair, KeyPairs, whole_pair
from agent.trust.renewal import MAX_REFUSED, RETRY_MAX_S, Renewal, certificate_request, due_at, private_key_pem
from contract.enrolment import Certificate, RenewRequest
from contract.errors import BadInput, Code, WorldError
from contract.names import unit_number
from controller.registry.credentials import Credentials
from controller.trust.authorities import Authorities
from controller.trust.certificates import new_key, pem
from controller.trust.enrolment import Enrolment
from firmware_sim.flash import Flash
from firmware_sim.power import Power, PowerCut, at

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@dataclass
class Lab:
    """A controller's enrolment and one device."""

    directory: Path
    today: datetime = NOW
    said: list[Certificate] = field(default_factory=list)
    refusal: str = ""
    unreachable: bool = False

    def __post_init__(self) -> None:
        self.authorities = Authorities(self.directory / "pki", NOW)
        self.enrolment = Enrolment(self.authorities, Credentials(self.directory / "c.sqlite"))
        self.first = self.enrol()
        self.disk = PosixDisk(self.directory / "state")
        self.pairs = KeyPairs(self.disk, lambda: self.first)
        self.renewal = self.new_renewal(self.pairs)

    def enrol(self) -> KeyPair:
        key = new_key()
        token = self.enrolment.claim("cam-1", self.today)
        made = self.enrolment.enrol(token, certificate_request(key, "cam-1"), self.today)
        return whole_pair(private_key_pem(key), pem(made).encode())

    def new_renewal(self, pairs: KeyPairs) -> Renewal:
        known = self.authorities.pem
        return Renewal("cam-1", pairs, authorities=known, ask=self.ask, accepted=lambda _: self.refusal)

    def ask(self, asked: RenewRequest) -> Certificate:
        if self.unreachable:
            raise WorldError(Code.CONTROLLER_UNREACHABLE, "away")
        made = self.enrolment.renew(asked.certificate, asked.csr, asked.signature, self.today)
        introductions = self.authorities.introductions(asked.csr)
        answer = Certificate(
            device="cam-1", certificate=pem(made), ca=self.authorities.pem, introductions=introductions
        )
        self.said.append(answer)
        return answer


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def test_a_renewal_is_due_before_two_thirds_of_the_lifetime_at_a_different_time_for_each_device(lab: Lab) -> None:
    life = lab.first.ends - lab.first.begins
    at_devices = {due_at(lab.first, name) for name in ("a", "b", "c")}
    assert len(at_devices) == 3
    assert all(0.64 * life <= when - lab.first.begins <= 2 / 3 * life for when in at_devices)
    due = due_at(lab.first, "cam-1")
    assert due == lab.first.begins + life * (2 / 3 - 0.02 * unit_number("cam-1"))
    assert not lab.renewal.is_due(0.0, due - timedelta(seconds=1))
    assert lab.renewal.is_due(0.0, due)
    assert lab.renewal.is_due(0.0, lab.first.ends + timedelta(days=100)), "also when it was off for long"


def test_a_renewed_pair_has_a_new_key_and_is_used_once_the_broker_accepts_it(lab: Lab) -> None:
    assert lab.renewal.attempt(0.0)
    renewed = lab.pairs.current()
    assert renewed.key != lab.first.key
    assert lab.pairs.renewed
    assert lab.pairs.next() is None
    assert {path.name: path.stat().st_mode & 0o777 for path in (lab.directory / "state").iterdir()} == {PAIR: 0o600}


def test_the_old_pair_is_used_while_the_broker_refuses_the_new_one_which_is_kept(lab: Lab) -> None:
    lab.refusal = "unknown authority"
    for number in range(1, MAX_REFUSED + 1):
        assert not lab.renewal.attempt(float(number))
        assert lab.pairs.current() == lab.first
        assert len(lab.said) == 1, "it does not ask for another one at each refusal"
    assert lab.pairs.next() is None, "it may have been revoked"
    assert lab.renewal.fault is not None
    lab.refusal = ""
    assert lab.renewal.attempt(100.0)
    assert len(lab.said) == 2


def test_pauses_between_attempts_grow_to_a_bound_and_a_pause_follows_success(lab: Lab) -> None:
    lab.unreachable = True
    now, waits = 0.0, []
    for _ in range(10):
        assert not lab.renewal.attempt(now)
        waits.append(lab.renewal.retry_at - now)
        now = lab.renewal.retry_at
    assert waits[:3] == [60.0, 120.0, 240.0]
    assert waits[-1] == RETRY_MAX_S
    lab.unreachable = False
    assert lab.renewal.attempt(now)
    future = lab.pairs.current().ends + timedelta(days=3650)
    assert not lab.renewal.is_due(now + 1.0, future), "a clock that is ahead does not renew again and again"


def test_a_power_cut_at_any_operation_loses_neither_pair(lab: Lab) -> None:
    cuts = 0
    for operation in range(1, 40):
        flash = Flash(Random(operation), Power(at(operation)))
        pairs = KeyPairs(flash, lambda: lab.first)
        try:
            lab.new_renewal(pairs).attempt(0.0)
        except PowerCut:
            cuts += 1
            flash.lose_power()
        else:
            break
        assert pairs.current().certificate in (lab.first.certificate, lab.said[-1].certificate)
        assert lab.new_renewal(pairs).attempt(10.0)
        assert pairs.renewed
    assert cuts >= 5


def test_the_pair_issued_last_is_used_so_a_new_enrolment_replaces_the_old(lab: Lab) -> None:
    lab.today = NOW + timedelta(days=60)
    assert lab.renewal.attempt(0.0)
    lab.today = NOW + timedelta(days=70)
    lab.first = lab.enrol()
    assert lab.pairs.current() == lab.first
    assert not lab.pairs.renewed


def test_a_damaged_file_is_not_a_pair_and_a_lost_first_pair_is_not_needed(lab: Lab, tmp_path: Path) -> None:
    assert lab.renewal.attempt(0.0)
    lost = KeyPairs(lab.disk, lambda: whole_pair((tmp_path / "gone").read_bytes(), b""))
    assert lost.current() == lab.pairs.current()
    lab.disk.write(PAIR, b"torn")
    assert lab.pairs.current() == lab.first
    with pytest.raises(BadInput) as caught:
        lost.current()
    assert caught.value.code == Code.CONFIG_INVALID
    with pytest.raises(BadInput, match="another key"):
        whole_pair(private_key_pem(new_key()), lab.first.certificate.encode())


def test_a_device_trusts_a_second_authority_that_the_first_one_signed(lab: Lab) -> None:
    lab.authorities.add(NOW)
    assert lab.renewal.attempt(0.0)
    assert lab.pairs.authorities().count("BEGIN CERTIFICATE") == 2
    issuer = x509.load_pem_x509_certificate(lab.pairs.current().certificate.encode()).issuer
    assert issuer == lab.authorities.issuing.certificate.subject
    lab.authorities.retire("ca")
    assert lab.renewal.attempt(10_000.0)
    assert lab.pairs.authorities() == lab.authorities.pem


@pytest.mark.parametrize("how", ["a stranger's authority", "a stranger's word", "another answer's word", "none"])
def test_an_attacker_between_device_and_controller_adds_no_authority(lab: Lab, tmp_path: Path, how: str) -> None:
    stranger = Lab(tmp_path / "stranger")

    def between(asked: RenewRequest) -> Certificate:
        honest = lab.ask(asked)
        public = x509.load_pem_x509_csr(asked.csr.encode()).public_key()
        made = stranger.authorities.issuing.device("cam-1", public, NOW)  # type: ignore[arg-type]
        ca = stranger.authorities.pem
        words = {
            "a stranger's authority": honest.introductions,
            "a stranger's word": stranger.authorities.introductions(asked.csr),
            "another answer's word": lab.authorities.introductions("another request"),
            "none": (),
        }
        return Certificate(device="cam-1", certificate=pem(made), ca=ca, introductions=words[how])

    renewal = Renewal("cam-1", lab.pairs, authorities=lab.authorities.pem, ask=between, accepted=lambda _: "")
    assert not renewal.attempt(0.0)
    assert renewal.fault is not None
    assert renewal.fault.code == Code.CERTIFICATE_INVALID
    assert lab.pairs.current() == lab.first
    assert AUTHORITIES not in lab.disk.names()
    assert NEXT not in lab.disk.names()


def test_a_certificate_for_another_name_or_key_is_refused(lab: Lab) -> None:
    def named(name: str, key: object = None) -> None:
        def ask(asked: RenewRequest) -> Certificate:
            public = key or x509.load_pem_x509_csr(asked.csr.encode()).public_key()
            made = lab.authorities.issuing.device(name, public, NOW)  # type: ignore[arg-type]
            return Certificate(device="cam-1", certificate=pem(made), ca=lab.authorities.pem)

        renewal = Renewal("cam-1", lab.pairs, authorities=lab.authorities.pem, ask=ask, accepted=lambda _: "")
        assert not renewal.attempt(0.0)
        assert lab.pairs.current() == lab.first

    named("cam-2")
    named("cam-1", new_key().public_key())


def test_a_device_that_the_broker_refuses_renews_at_once_and_then_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[float] = []

    class Thread:
        def __init__(self, *, target: object, args: tuple[float], name: str, daemon: bool) -> None:
            begun.append(args[0])

        def start(self) -> None: ...
        def is_alive(self) -> bool:
            return False

    class Pairs:
        def current(self) -> Any:
            return SimpleNamespace(begins=NOW, ends=NOW + timedelta(days=90))

    monkeypatch.setattr(renewer, "new_renewal", lambda *_: SimpleNamespace(is_due=lambda *_: False))
    monkeypatch.setattr(renewer.threading, "Thread", Thread)
    made = renewer.Renewer(Config(device=Device(name="cam-1")), Pairs(), lambda _: None)  # type: ignore[arg-type]
    made.tick(1.0)
    for now in (2.0, 3.0, 40.0, renewer.UNHEARD_S + 1.0, renewer.UNHEARD_S + 2.0):
        made.tick(now, unheard=True)
    assert begun == [2.0, renewer.UNHEARD_S + 2.0]
