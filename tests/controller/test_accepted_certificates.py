"""Certificates that a restored controller accepts, and how many keys of one device are valid."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from contract.enrolment import RenewRequest
from contract.keys import signer_of
from contract.messages import Heartbeat
from contract.signatures import renewal
from controller.config import Config, StorageConfig
from controller.registry.credentials import Credentials
from controller.state import State, open_state
from controller.trust import senders
from controller.trust.authorities import Authorities
from controller.trust.certificates import new_key, pem
from controller.trust.enrolment import MAX_GOOD, ClaimRefused, Enrolment
from controller.trust.keys import private_pem
from controller.verbs import devices
from tests.controller.enrolment_worlds import HARDWARE, NOW, enrolled, renewed, request


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    made = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path))))
    yield made
    made.close()


@pytest.fixture
def made(tmp_path: Path) -> Enrolment:
    return Enrolment(Authorities(tmp_path / "pki", NOW), Credentials(tmp_path / "c.sqlite"))


def restored(made: Enrolment, tmp_path: Path) -> Enrolment:
    """Restores the controller from a backup made before the first certificate: its keys, and no row."""
    return Enrolment(made.authorities, Credentials(tmp_path / "restored.sqlite"))


def test_a_certificate_issued_after_the_backup_is_accepted_by_a_restored_controller(
    made: Enrolment, tmp_path: Path
) -> None:
    sign, old = enrolled(made, NOW)
    again, day = restored(made, tmp_path), NOW + timedelta(days=1)
    assert not again.knows(pem(old))
    next_sign, new = renewed(again, sign, old, day)
    assert again.knows(pem(old))
    assert len(again.credentials.public_keys("cam-1", day.timestamp())) == 2, "what either key signs is heard"
    renewed(again, next_sign, new, day)


def test_revocations_override_what_a_backup_does_not_contain(made: Enrolment, tmp_path: Path) -> None:
    sign, old = enrolled(made, NOW)
    again, day = restored(made, tmp_path), NOW + timedelta(days=1)
    enrolled(again, day)
    again.credentials.revoke("cam-1", day.timestamp())
    with pytest.raises(ClaimRefused, match="cannot be renewed"):
        renewed(again, sign, old, day)
    assert not again.knows(pem(old))


@pytest.mark.parametrize("how", ["retired", "expired", "forged", "a service", "another key"])
def test_a_certificate_without_a_row_is_accepted_only_if_it_is_valid_and_of_this_fleet(
    made: Enrolment, tmp_path: Path, how: str
) -> None:
    again, day = restored(made, tmp_path), NOW + timedelta(days=91 if how == "expired" else 1)
    stranger = Enrolment(Authorities(tmp_path / "other", NOW), Credentials(tmp_path / "other.sqlite"))
    key = new_key()
    sign, old = enrolled(stranger if how == "forged" else made, NOW)
    if how == "a service":
        sign, old = signer_of(private_pem(key)), made.authority.service("cam-1", key.public_key(), NOW)
    if how == "another key":
        sign = signer_of(private_pem(key))
    asked = request()
    with pytest.raises(ClaimRefused):
        again.renew(pem(old), asked, sign(renewal(asked)), day, gone={"cam-1"} if how == "retired" else ())
    assert not again.knows(pem(old))


def test_an_accepted_certificate_is_audited(state: State, tmp_path: Path) -> None:
    elsewhere = Enrolment(state.enrolment.authorities, Credentials(tmp_path / "lost.sqlite"))
    sign, old = enrolled(elsewhere, datetime.now(UTC))
    for _ in range(2):
        asked = request()
        devices.renew(state, RenewRequest(certificate=pem(old), csr=asked, signature=sign(renewal(asked))))
    actions = [each["action"] for each in state.journal.audit_entries()]
    assert actions[:2] == ["certificate renewed", "certificate taken in"]


def test_renewals_of_a_key_are_limited_and_a_revocation_ends_them(made: Enrolment) -> None:
    sign, old = enrolled(made, NOW)
    for _ in range(MAX_GOOD - 1):
        sign, old = renewed(made, sign, old, NOW)
    with pytest.raises(ClaimRefused) as caught:
        renewed(made, sign, old, NOW)
    assert "24 good certificates" in caught.value.words
    assert len(made.credentials.public_keys("cam-1", NOW.timestamp())) == MAX_GOOD
    renewed(made, sign, old, NOW + timedelta(days=91))  # the others have expired
    assert made.credentials.revoke("cam-1", NOW.timestamp()) == MAX_GOOD + 1


def test_the_key_that_signed_last_is_tried_first(monkeypatch: pytest.MonkeyPatch) -> None:
    class Keys:
        def public_keys(self, device: str, now: float) -> list[str]:
            return ["old", "new", "newest"]

        def enrolled(self, device: str) -> bool:
            return True

    tried: list[str] = []

    def is_signed_by(message: Any, keys: list[str], raw: bytes) -> bool:
        tried.extend(keys)
        return keys == ["new"]

    monkeypatch.setattr(senders, "is_signed_by", is_signed_by)
    made, beat = senders.Senders(Keys(), require_signed=False), fake_beat()
    for _ in range(3):
        assert made.is_authentic("cam-1", beat, 1.0)
    assert tried == ["old", "new", "new", "new"]


def fake_beat() -> Heartbeat:
    return Heartbeat(protocol=1, device="cam-1", boot=1, seq=1, uptime_s=1, hardware=HARDWARE)
