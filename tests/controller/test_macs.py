"""Telemetry with a code in place of a signature: how both sides agree on it, and what a stolen key allows."""

import time
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from contract import topics
from contract.keys import signer_of
from contract.macs import agreed_code, has_code_by
from contract.messages import Ack, Hardware, Heartbeat, Telemetry
from contract.signatures import MAC_PREFIX, Sign, encoding, sign_message
from contract.wire import encode
from controller.broker.inbox import Inbox
from controller.trust.agreement import Agreement, load_or_make_agreement, public_pem
from controller.trust.keys import private_pem
from controller.trust.senders import KEYS_KEPT_S, Senders

DEVICE = "cam-1"


class Keys:
    """The public keys of one enrolled device."""

    def __init__(self, *keys: PrivateKeyTypes) -> None:
        self.keys = [public_pem(key) for key in keys]

    def public_keys(self, _device: str, _now: float) -> list[str]:
        return self.keys

    def enrolled(self, _device: str) -> bool:
        return True


def telemetry(seq: int) -> Telemetry:
    return Telemetry(protocol=1, device=DEVICE, boot=1, seq=seq, interval_s=1.0)


class Device:
    """The agent's half, with its own key."""

    def __init__(self, key: PrivateKeyTypes) -> None:
        self.pem = private_pem(key)

    def signed(self, seq: int) -> Telemetry:
        return sign_message(telemetry(seq), signer_of(self.pem))

    def coded(self, seq: int, agreement: str, name: str = DEVICE) -> Telemetry:
        code = agreed_code(self.pem, agreement, name)
        assert code is not None
        return msgspec.structs.replace(telemetry(seq), signature=code(encoding(telemetry(seq))))


def inbox_of(keys: Keys, agreement: Agreement) -> tuple[Inbox, Senders]:
    senders = Senders(keys, require_signed=True, code=agreement.code)
    return Inbox(senders, lambda: 1000.0, agreement=agreement.public), senders


def put(inbox: Inbox, message: Telemetry) -> bool:
    return inbox.put(topics.telemetry(DEVICE), encode(message))


@pytest.fixture
def agreement(tmp_path: Path) -> Agreement:
    return load_or_make_agreement(tmp_path / "agreement.pem")


def test_a_device_that_signs_gets_the_key_and_its_codes_are_accepted_from_then_on(agreement: Agreement) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    inbox, _ = inbox_of(Keys(key), agreement)
    device = Device(key)
    assert put(inbox, device.signed(1))
    assert inbox.agreements == {DEVICE: Ack(boot=1, seq=1, agreement=agreement.public)}
    inbox.agreements.clear()
    assert put(inbox, device.coded(2, agreement.public))
    assert (inbox.agreements, inbox.counts["unsigned"]) == ({}, 0)


def test_the_key_is_the_same_after_a_restart(tmp_path: Path) -> None:
    first, second = (load_or_make_agreement(tmp_path / "agreement.pem") for _ in range(2))
    assert first.public == second.public
    assert (tmp_path / "agreement.pem").stat().st_mode & 0o077 == 0


def test_a_code_by_a_deleted_key_is_refused_and_the_device_signs_again(agreement: Agreement, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    inbox, _ = inbox_of(Keys(key), agreement)
    former = load_or_make_agreement(tmp_path / "former.pem")
    assert not put(inbox, Device(key).coded(3, former.public))
    assert inbox.agreements == {DEVICE: Ack(boot=1, seq=3, agreement="")}


def test_the_key_of_another_device_makes_no_valid_code(agreement: Agreement) -> None:
    own, stolen = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    inbox, _ = inbox_of(Keys(own), agreement)
    assert not put(inbox, Device(stolen).coded(1, agreement.public))
    assert not put(inbox, Device(own).coded(1, agreement.public, name="cam-2")), "a code is for one name"
    changed = msgspec.structs.replace(Device(own).coded(1, agreement.public), rss_mb=1.0)
    assert not put(inbox, changed), "every field is covered"


def test_a_code_is_valid_for_telemetry_only(agreement: Agreement) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    inbox, _ = inbox_of(Keys(key), agreement)
    hardware = Hardware(machine="x", cpus=1, memory_mb=1, python="3", onnxruntime="1", agent="0.1.0")
    heartbeat = Heartbeat(protocol=1, device=DEVICE, boot=1, seq=1, uptime_s=1, hardware=hardware)
    code = agreed_code(private_pem(key), agreement.public, DEVICE)
    assert code is not None
    coded = msgspec.structs.replace(heartbeat, signature=code(encoding(heartbeat)))
    assert not inbox.put(topics.heartbeat(DEVICE), encode(coded)), "a third party must be able to check it"


def test_a_revoked_key_makes_no_valid_codes(agreement: Agreement) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    keys = Keys(key)
    inbox, senders = inbox_of(keys, agreement)
    assert put(inbox, Device(key).coded(1, agreement.public))
    keys.keys = []
    senders.forget(DEVICE)
    assert not put(inbox, Device(key).coded(2, agreement.public))


def test_codes_are_agreed_on_once_and_anew_for_another_key(agreement: Agreement) -> None:
    first, second = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    keys, made = Keys(first), list[str]()

    def code(public: str, device: str) -> Sign | None:
        made.append(public)
        return agreement.code(public, device)

    senders = Senders(keys, require_signed=True, code=code)
    for number in range(3):
        message = Device(first).coded(number, agreement.public)
        assert senders.is_authentic(DEVICE, message, 2 * KEYS_KEPT_S * number, encode(message))
    assert len(made) == 1, "an agreement takes 0.1 ms: 100,000 devices every ten minutes would take half a minute"
    keys.keys = [public_pem(second)]
    for key, is_heard in ((first, False), (second, True)):
        message = Device(key).coded(4, agreement.public)
        assert senders.is_authentic(DEVICE, message, 8 * KEYS_KEPT_S, encode(message)) == is_heard


def test_a_device_whose_key_supports_no_agreement_keeps_signing_and_gets_no_key(agreement: Agreement) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    inbox, _ = inbox_of(Keys(key), agreement)
    assert agreed_code(private_pem(key), agreement.public, DEVICE) is None
    assert agreed_code(private_pem(ec.generate_private_key(ec.SECP256R1())), "no key", DEVICE) is None
    assert put(inbox, Device(key).signed(1))
    assert inbox.agreements == {}


def test_a_code_is_checked_much_faster_than_a_signature(agreement: Agreement) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    inbox, _ = inbox_of(Keys(key), agreement)
    device = Device(key)
    signed = [device.signed(seq) for seq in range(300)]
    coded = [device.coded(seq, agreement.public) for seq in range(300)]
    times = []
    for messages in (signed, coded):
        began = time.process_time()
        assert all(put(inbox, message) for message in messages)
        times.append(time.process_time() - began)
    assert times[1] < times[0]


def test_a_code_that_appears_twice_in_a_message_is_invalid(agreement: Agreement) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    coded = Device(key).coded(1, agreement.public)
    assert coded.signature.startswith(MAC_PREFIX)
    code = agreement.code(public_pem(key), DEVICE)
    assert code is not None
    raw = encode(coded)
    assert has_code_by(coded, code, raw)
    assert not has_code_by(coded, code, raw + raw)
