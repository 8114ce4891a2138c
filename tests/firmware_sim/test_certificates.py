"""400 virtual days of certificates keep their laws, and the laws notice when a rule is broken."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.trust import renewal
from agent.trust.keypair import NEXT, PAIR, KeyPair, KeyPairs
from controller.trust import enrolment
from controller.trust.authorities import Authorities
from firmware_sim.certificates import OUTSIDE, CertificateWorld, run_certificates
from firmware_sim.checkers.law import Violation


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", [1, 2])
def test_no_device_within_the_rules_is_locked_out_and_every_other_one_is_reported(seed: int) -> None:
    assert run_certificates(seed) == ""


@pytest.mark.soak
@pytest.mark.timeout(3000)
def test_certificates_keep_their_laws_over_400_days_with_many_seeds() -> None:
    assert {seed: words for seed in range(3, 203) if (words := run_certificates(seed))} == {}


@pytest.mark.timeout(120)
def test_the_simulated_events_are_those_that_the_laws_are_about(tmp_path: Path) -> None:
    world = CertificateWorld(5, tmp_path)
    world.run()
    assert [mark for _, subject, *_, mark in world.warned if subject == OUTSIDE] == [30, 7, 1, 0]
    assert any("expired 241 days ago" in words or "expired" in words for _, _, words in world.refused)
    assert sum(life.flash.power.cuts for life in world.lives.values()) > 3
    assert list(world.authorities.retired) == ["ca"]
    world.close()


def broken(monkeypatch: pytest.MonkeyPatch, target: Any, name: str, value: Any) -> str:
    monkeypatch.setattr(target, name, value)
    return run_certificates(1)


@pytest.mark.timeout(120)
@pytest.mark.no_cover  # the worlds above are measured, which pass through the same lines
def test_a_controller_without_a_grace_period_locks_a_device_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "d00" in broken(monkeypatch, enrolment, "RENEWAL_GRACE_DAYS", 0.0)


@pytest.mark.timeout(120)
@pytest.mark.no_cover
def test_a_device_that_renews_at_the_end_causes_needless_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    late = lambda pair, _: pair.ends - timedelta(hours=6)  # noqa: E731
    monkeypatch.setattr("firmware_sim.certificates.due_at", late)
    words = broken(monkeypatch, renewal, "due_at", late)
    assert words.startswith(("nobody_warns_in_vain", "outside_is_told"))


@pytest.mark.timeout(120)
@pytest.mark.no_cover
def test_a_controller_that_introduces_no_authority_locks_devices_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert broken(monkeypatch, Authorities, "introductions", lambda *_: ()) != ""


def keep_in_place(pairs: KeyPairs, pair: KeyPair) -> None:
    """Writes the new pair over the old one: not durable at once, and no way back."""
    pairs._disk.write(PAIR, pair.key + pair.certificate.encode())
    pairs._disk.write(NEXT, pair.key + pair.certificate.encode())


@pytest.mark.timeout(120)
@pytest.mark.no_cover
def test_a_pair_overwritten_in_place_is_lost_in_a_power_cut(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(KeyPairs, "keep_next", keep_in_place)
    found = []
    for seed in range(1, 6):
        world = CertificateWorld(seed, tmp_path / str(seed))
        try:
            world.run()
        except (Violation, Exception) as error:
            found.append(str(error))
        finally:
            world.close()
        if found:
            break
    assert found
