"""Warnings of expiry and their times, certificates that are kept, and documents that the controller renews itself."""

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from cryptography import x509

from contract.enrolment import RenewRequest
from contract.errors import BadInput, Code
from contract.keys import signer_of
from contract.messages import Heartbeat
from contract.signatures import renewal
from contract.trust import repository
from controller.api.app import make_app
from controller.config import BrokerConfig, Config, StorageConfig
from controller.events.cloudevents import ExpiryData
from controller.fleet.expiry import DAY_S, MARKS_DAYS, expiring, mark_of
from controller.fleet.twin import Twin, fold_heartbeat
from controller.registry.credentials import Credentials
from controller.state import State, open_state
from controller.trust.authorities import MAX_AUTHORITIES, Authorities
from controller.trust.certificates import new_key, pem
from controller.trust.enrolment import RENEWAL_GRACE_DAYS, ClaimRefused, Enrolment
from controller.trust.keys import private_pem
from controller.trust.metadata import Keyring, TrustMetadata
from controller.verbs import certificates, devices
from firmware_sim.durable import DurableStore
from firmware_sim.fleet_keys import FIRST, KEY_RING, RELEASE, ROOTS, TARGETS, WORLD_BEGAN, vouched
from firmware_sim.models import make_model
from tests.controller.enrolment_worlds import HARDWARE, NOW, enrolled, renewed, request


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    made = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path))))
    yield made
    made.close()


def told(state: State) -> list[tuple[str, str, str]]:
    """Returns (type, subject, what) of every event."""
    kept = [event for event in state.events._kept if isinstance(event.data, ExpiryData)]
    return [(event.type.rpartition(".")[2], event.subject, event.data.what) for event in kept]  # type: ignore[union-attr]


def hear(state: State, device: str, expiries: dict[str, int]) -> None:
    beat = Heartbeat(protocol=1, device=device, boot=1, seq=1, uptime_s=1, hardware=HARDWARE, expiries=expiries)
    state.world.durable.twins[device] = fold_heartbeat(Twin(device), beat, 0.0)


@pytest.mark.parametrize(
    ("days", "mark"), [(31, None), (29.9, 30), (7.1, 30), (6.9, 7), (1.1, 7), (0.9, 1), (0, 0), (-50, 0)]
)
def test_a_mark_is_reached_at_30_7_and_1_days_and_at_the_end(days: float, mark: int | None) -> None:
    assert mark_of(1e9 + days * DAY_S, 1e9) == mark
    assert MARKS_DAYS == (30, 7, 1, 0)


def test_the_expiry_reported_by_a_device_overrides_that_of_the_last_issued_certificate() -> None:
    twins = [Twin("a", expiries={"certificate": 1000, "root": 5, "authority": 5}), Twin("b")]
    found = list(expiring(twins, {"a": 1e12, "b": 2000.0}, {}, 1000.0))
    assert [(each.subject, each.what) for each in found] == [("a", "certificate"), ("b", "certificate")]


def test_an_external_broker_is_reported_once_for_the_fleet_and_a_started_one_by_the_controller() -> None:
    twins = [Twin(name, expiries={"broker": 1000}) for name in ("a", "b", "c")]
    assert [each.subject for each in expiring(twins, {}, {}, 900.0)] == ["fleet"]
    found = list(expiring(twins, {}, {"certificate server": 1000.0}, 900.0))
    assert [(each.subject, each.what) for each in found] == [("controller", "certificate server")]


def test_each_mark_is_reported_once_even_after_a_restart_of_the_controller(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("WARNING", logger="edgeward.controller")
    config = Config(storage=StorageConfig(data_dir=str(tmp_path)))
    soon = int(time.time() + 20 * DAY_S)
    for number in range(2):
        state = open_state(config)
        hear(state, "cam-1", {"certificate": soon, "timestamp": 1})
        certificates.warn(state)
        certificates.warn(state)
        assert told(state) == ([("expiring", "cam-1", "certificate")] if number == 0 else [])
        state.close()
    state = open_state(config)
    hear(state, "cam-1", {"certificate": int(time.time() + 5 * DAY_S)})
    certificates.warn(state)
    hear(state, "cam-1", {"certificate": int(time.time() - DAY_S)})
    certificates.warn(state)
    assert told(state) == [("expiring", "cam-1", "certificate"), ("expired", "cam-1", "certificate")]
    assert "certificate of cam-1 has expired" in caplog.text
    state.close()


def test_a_silent_device_is_reported_by_its_last_issued_certificate(state: State) -> None:
    issued = datetime.now(UTC) - timedelta(days=75)
    state.enrolment.enrol(state.enrolment.claim("cam-1", issued), request(), issued)
    certificates.warn(state)
    assert told(state) == [("expiring", "cam-1", "certificate")]


def test_the_api_shows_the_expiries_of_a_device(state: State) -> None:
    hear(state, "cam-1", {"certificate": 2_000_000_000})

    async def ask() -> Any:
        async with TestClient(TestServer(make_app(state, "edg_test"))) as client:
            return await (await client.get("/v1/devices/cam-1", headers={"Authorization": "Bearer edg_test"})).json()

    assert asyncio.run(ask())["expiries"] == {"certificate": 2_000_000_000}


@pytest.fixture
def made(tmp_path: Path) -> Enrolment:
    return Enrolment(Authorities(tmp_path / "pki", NOW), Credentials(tmp_path / "c.sqlite"))


def test_an_expired_unrevoked_known_key_renews_within_the_grace_period_and_not_after(made: Enrolment) -> None:
    sign, old = enrolled(made, NOW)
    late = NOW + timedelta(days=90 + RENEWAL_GRACE_DAYS + 1)
    with pytest.raises(ClaimRefused) as caught:
        renewed(made, sign, old, late)
    assert "expired 181 days ago" in caught.value.words
    assert caught.value.device == "cam-1"
    assert renewed(made, sign, old, late - timedelta(days=2))[1].subject == old.subject


def test_a_lost_answer_locks_no_device_out_and_a_replaced_key_is_refused(made: Enrolment) -> None:
    sign, first = enrolled(made, NOW)
    lost = renewed(made, sign, first, NOW + timedelta(days=60))[1]
    late = NOW + timedelta(days=100)
    assert lost.serial_number
    next_sign, second = renewed(made, sign, first, late)
    renewed(made, next_sign, second, late + timedelta(days=60))
    with pytest.raises(ClaimRefused) as caught:
        renewed(made, sign, first, late + timedelta(days=61))
    assert "gone on to a newer key" in caught.value.words


def test_a_new_claim_replaces_an_expired_key(made: Enrolment) -> None:
    sign, first = enrolled(made, NOW)
    enrolled(made, NOW + timedelta(days=100))
    with pytest.raises(ClaimRefused):
        renewed(made, sign, first, NOW + timedelta(days=101))


def test_a_device_past_its_grace_period_is_an_event_once_and_a_forged_request_is_not(state: State) -> None:
    began = datetime.now(UTC) - timedelta(days=90 + RENEWAL_GRACE_DAYS + 5)
    sign, old = enrolled(state.enrolment, began)
    thief = signer_of(private_pem(new_key()))
    for signs in (thief, sign, sign):
        asked = request()
        with pytest.raises(BadInput) as caught:
            devices.renew(state, RenewRequest(certificate=pem(old), csr=asked, signature=signs(renewal(asked))))
        assert caught.value.code == Code.CLAIM_REFUSED
    assert told(state) == [("refused", "cam-1", "renewal")]


def test_expired_certificates_are_deleted_except_the_newest_of_a_device(made: Enrolment) -> None:
    sign, first = enrolled(made, NOW)
    _, second = renewed(made, sign, first, NOW + timedelta(days=60))
    made.credentials.forget_expired((NOW + timedelta(days=1000)).timestamp())
    assert made.credentials.certificate(first.serial_number) is None
    assert made.credentials.certificate(second.serial_number) is not None
    assert made.credentials.enrolled("cam-1")


def test_a_file_of_an_older_version_is_migrated(tmp_path: Path) -> None:
    credentials = Credentials(tmp_path / "c.sqlite")
    with credentials._db:
        credentials._db.executescript(
            "DROP TABLE certificates; CREATE TABLE certificates (serial TEXT PRIMARY KEY, device TEXT NOT NULL, "
            "public_key TEXT NOT NULL, expires REAL NOT NULL, revoked REAL);"
            "INSERT INTO certificates VALUES ('0xa', 'cam-1', 'k', 2e9, NULL);"
        )
    credentials.close()
    known = Credentials(tmp_path / "c.sqlite").certificate(10)
    assert known is not None
    assert (known.device, known.authority, known.parent) == ("cam-1", "ca", None)


def test_a_second_authority_issues_beside_the_first_which_is_retired_when_no_device_needs_it(state: State) -> None:
    sign, old = enrolled(state.enrolment, datetime.now(UTC))
    assert certificates.add_authority(state, actor="ada") == "ca-2"
    assert state.broker_outdated
    with pytest.raises(BadInput) as caught:
        certificates.retire_authority(state, "ca", force=False, actor="ada")
    assert caught.value.code == Code.AUTHORITY_IN_USE
    assert "1 devices rely on ca alone, the first are cam-1" in caught.value.detail
    new = renewed(state.enrolment, sign, old, datetime.now(UTC))[1]
    new.verify_directly_issued_by(state.enrolment.authorities.issuing.certificate)
    assert certificates.retire_authority(state, "ca", force=False, actor="ada") == "ca"
    assert list(state.enrolment.authorities.trusted) == ["ca-2"]
    assert list(state.enrolment.authorities.retired) == ["ca"]
    assert len(state.enrolment.authorities.introductions("request")) == 2, "its key still introduces"
    with pytest.raises(BadInput, match="issues certificates"):
        certificates.retire_authority(state, "ca-2", force=True, actor="ada")


def test_authorities_are_limited_in_number_and_found_again(tmp_path: Path) -> None:
    authorities = Authorities(tmp_path, NOW)
    names = [authorities.add(NOW) for _ in range(MAX_AUTHORITIES - 1)]
    assert names == ["ca-2", "ca-3", "ca-4"]
    with pytest.raises(BadInput, match="retire one first"):
        authorities.add(NOW)
    authorities.retire("ca")
    again = Authorities(tmp_path, NOW)
    assert list(again.trusted) == ["ca-2", "ca-3", "ca-4"]
    assert again.pem == authorities.pem
    subjects = {each.certificate.subject for each in authorities.trusted.values()}
    assert len(subjects) == 3, "revocation lists are found by the issuer's name"
    assert authorities.add(NOW) == "ca-5"


def test_each_authority_has_its_own_revocation_list(made: Enrolment) -> None:
    _, first = enrolled(made, NOW)
    made.authorities.add(NOW)
    _, second = enrolled(made, NOW, "cam-2")
    made.credentials.revoke("cam-1", NOW.timestamp())
    made.credentials.revoke("cam-2", NOW.timestamp())
    lists = made.revocations(NOW).split(b"-----END X509 CRL-----\n")[:-1]
    found = [x509.load_pem_x509_crl(each + b"-----END X509 CRL-----\n") for each in lists]
    assert [[entry.serial_number for entry in each] for each in found] == [
        [first.serial_number],
        [second.serial_number],
    ]


def test_one_certificate_is_revoked_by_its_number_and_an_unknown_number_is_named(state: State) -> None:
    _, old = enrolled(state.enrolment, datetime.now(UTC))
    ended = asyncio.run(certificates.revoke(state, old.serial_number, actor="ada"))
    assert ended.revoked is not None
    with pytest.raises(BadInput) as caught:
        asyncio.run(certificates.revoke(state, 4711, actor="ada"))
    assert caught.value.code == Code.UNKNOWN_CERTIFICATE


def kept_files(*keys: Any) -> TrustMetadata:
    trust = TrustMetadata(DurableStore(), Keyring([*KEY_RING, *keys], RELEASE))
    trust.begin(vouched(FIRST, "weather", {1: make_model(1, "good").manifest}, WORLD_BEGAN), WORLD_BEGAN)
    return trust


def days_left(trust: TrustMetadata, now: datetime) -> dict[str, float]:
    rows = repository.describe(trust.files)
    return {
        row["role"]: (datetime.fromisoformat(row["expires"]) - now) / timedelta(days=1)
        for row in rows
        if row["expires"]
    }


def test_root_targets_and_models_are_signed_again_if_their_keys_are_here() -> None:
    trust = kept_files(*ROOTS, TARGETS, RELEASE)
    for day in range(0, 400, 1):
        now = WORLD_BEGAN + timedelta(days=day)
        trust.refresh(now)
        left = days_left(trust, now)
        assert min(left["root"], left["targets"], left["models-weather"]) > 55, day
    assert repository.newest_root(trust.files) == 2
    assert trust.signed("weather") == {1}, "it says what it said"


def test_roles_signed_elsewhere_are_unchanged() -> None:
    trust = kept_files(ROOTS[0])
    now = WORLD_BEGAN + timedelta(days=340)
    trust.refresh(now)
    assert repository.newest_root(trust.files) == 1, "two of three roots must sign, and one is here"
    assert days_left(trust, now)["targets"] < 30


def test_certificates_of_a_started_broker_are_kept_and_renewed_in_time(tmp_path: Path) -> None:
    from controller.broker.mutual_tls import SERVICES, BrokerFiles

    made = Enrolment(Authorities(tmp_path / "pki", NOW), Credentials(tmp_path / "c.sqlite"))
    files, config = BrokerFiles(tmp_path / "tls", "localhost"), BrokerConfig(tls=True)
    files.prepare(config, 1, made, NOW, "nobody")
    before = (tmp_path / "tls" / "server.key").read_bytes()
    files.prepare(config, 1, made, NOW + timedelta(days=200), "nobody")
    assert (tmp_path / "tls" / "server.key").read_bytes() == before
    later = NOW + timedelta(days=250)
    assert set(files.stale(config, made, later)) == {"server", *SERVICES, "svc.canary"}
    assert set(files.renew(config, made, later)) == {"server", *SERVICES, "svc.canary"}
    assert files.stale(config, made, later) == ()
    assert (tmp_path / "tls" / "server.key").read_bytes() != before, "with a new key"
    assert files.stale(BrokerConfig(tls=True, names=("broker.example.org",)), made, later) == ("server",)
    newest = made.credentials.certificates("svc.controller")
    assert [each.revoked is None for each in newest] == [True, False], "the key of the old one is gone"
    made.credentials.revoke_serial(newest[0].serial, later.timestamp())
    assert files.stale(config, made, later) == ("svc.controller",)
