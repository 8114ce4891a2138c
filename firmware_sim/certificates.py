"""400 virtual days of certificates: real renewal on simulated flash, the real enrolment, a second authority, outages.

One seed draws which devices are off, when the controller is off, which answers are lost and at which operation power
fails. Idle time is skipped, so a run takes a second. Decides what is a violation: no device within the rules may be
locked out, and people must be warned of each device beyond them. Refuses to know MQTT and models.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec

from agent.trust.keypair import KeyPair, KeyPairs, whole_pair
from agent.trust.renewal import Renewal, certificate_request, due_at, private_key_pem
from contract.enrolment import Certificate, RenewRequest
from contract.errors import BadInput, Code, EdgewardError, WorldError
from contract.trust import repository
from controller.fleet.expiry import expiring
from controller.registry.credentials import Credentials
from controller.trust.authorities import Authorities
from controller.trust.certificates import DEVICE_DAYS, pem
from controller.trust.enrolment import RENEWAL_GRACE_DAYS, ClaimRefused, Enrolment
from controller.trust.keyring import Keyring
from controller.trust.metadata import TrustMetadata
from firmware_sim.checkers.law import Violation, hold
from firmware_sim.clock import Clock, stream
from firmware_sim.durable import DurableStore
from firmware_sim.flash import Flash
from firmware_sim.fleet_keys import FIRST, KEY_RING, RELEASE, ROOTS, TARGETS, WORLD_BEGAN
from firmware_sim.power import Power, PowerCut, at_random

DAYS = 400
DAY_S = 86_400.0
SETTLES_S = 2 * DAY_S
"""Seconds for which a device may be without a valid certificate after an outage, or after an authority was retired:
retries are an hour apart, and answers are lost, so that a device may not have the certificate that was issued to it."""
REBOOT_S = 60.0
SECOND_AUTHORITY_DAY = 110
INSIDE, OUTSIDE = "d00", "d01"
"""INSIDE is off for as long as the rules allow, OUTSIDE for longer; an operator gives OUTSIDE a new claim five days
later."""


@dataclass(frozen=True, slots=True)
class Odds:
    """Probabilities of what goes wrong, for each attempt or operation."""

    unreachable: float = 0.2
    answer_lost: float = 0.1
    broker_away: float = 0.1
    power_cut: float = 0.02


@dataclass
class Life:
    """One device."""

    name: str
    flash: Flash
    pairs: KeyPairs
    renewal: Renewal
    enrolled: list[KeyPair]
    """The key pair that its configuration names; a new claim replaces it."""
    off: list[tuple[float, float]]
    """The intervals in which the device is off: (begin, end) in virtual seconds."""
    draws: Random
    ca: str
    """The authorities that came with its newest claim."""
    booted: int = 0
    back_at: float = 0.0
    """When it was switched on last, or power came back."""


@dataclass
class CertificateWorld:
    """A fleet, one controller, and their certificates, from WORLD_BEGAN on. Files of authorities lie in `directory`."""

    seed: int
    directory: Path
    devices: int = 8
    odds: Odds = field(default_factory=Odds)
    clock: Clock = field(default_factory=Clock)
    warned: list[tuple[float, str, str, float, int]] = field(default_factory=list)
    """(time, subject, what, expires, mark)"""
    refused: list[tuple[float, str, str]] = field(default_factory=list)
    """(time, device, words of the audit)"""
    retired_at: list[float] = field(default_factory=list)
    """When the first authority was retired; empty before."""

    def __post_init__(self) -> None:
        self.authorities = Authorities(self.directory / "pki", WORLD_BEGAN)
        self.enrolment = Enrolment(self.authorities, Credentials(Path(":memory:")))
        self.trust = TrustMetadata(DurableStore(), Keyring([*KEY_RING, *ROOTS, TARGETS, RELEASE], RELEASE))
        self.trust.begin(FIRST, WORLD_BEGAN)
        away = stream(self.seed, "controller/away")
        self.controller_off = [_interval(away, day, 1 + 6 * away.random()) for day in (57, 150, 290)]
        self.lives = {name: self._new_life(name) for name in (f"d{number:02d}" for number in range(self.devices))}
        for life in self.lives.values():
            self._arrange(life)
        self.clock.at(SECOND_AUTHORITY_DAY * DAY_S, lambda: self.authorities.add(self.today))
        for day in range(1, DAYS):
            self.clock.at(day * DAY_S, self._daily)

    def run(self) -> None:
        """Runs the world to its end and judges it. Raises Violation for the first broken law."""
        self.clock.run(DAYS * DAY_S)
        self._judge()

    def close(self) -> None:
        """Closes the database of credentials."""
        self.enrolment.credentials.close()

    @property
    def today(self) -> datetime:
        """The virtual date, the same for all devices and the controller."""
        return WORLD_BEGAN + timedelta(seconds=int(self.clock.now))

    def _new_life(self, name: str) -> Life:
        flash = Flash(stream(self.seed, f"{name}/flash"))
        draws = stream(self.seed, f"{name}/net")
        enrolled = [self._enrol(name)]
        pairs = KeyPairs(flash, lambda: enrolled[-1])
        flash.power = Power(at_random(self.odds.power_cut, stream(self.seed, f"{name}/power")))
        renewal = self._new_renewal(name, pairs, draws)
        return Life(name, flash, pairs, renewal, enrolled, self._plan(name), draws, self.authorities.pem)

    def _new_renewal(self, name: str, pairs: KeyPairs, draws: Random) -> Renewal:
        return Renewal(
            name,
            pairs,
            authorities=self.authorities.pem,
            ask=lambda asked: self._answer(name, asked, draws),
            accepted=lambda pair: self._accepts(pair, draws),
        )

    def _enrol(self, name: str) -> KeyPair:
        key = ec.generate_private_key(ec.SECP256R1())
        token = self.enrolment.claim(name, self.today)
        certificate = self.enrolment.enrol(token, certificate_request(key, name), self.today)
        return whole_pair(private_key_pem(key), pem(certificate).encode())

    def _plan(self, name: str) -> list[tuple[float, float]]:
        draws = stream(self.seed, f"{name}/off")
        begins = 20 + 10 * draws.random()
        if name == INSIDE:  # at least a third of its certificate's life is left
            return [_interval(draws, begins, RENEWAL_GRACE_DAYS + DEVICE_DAYS / 3 - 1, exact=True)]
        if name == OUTSIDE:
            return [_interval(draws, begins, RENEWAL_GRACE_DAYS + DEVICE_DAYS + 1, exact=True)]
        return [_interval(draws, day, 20 * draws.random()) for day in (40, 130, 220, 310) if draws.random() < 0.5]

    def _arrange(self, life: Life) -> None:
        for off_at, on_at in life.off:
            self.clock.at(off_at, self._switch, life, False)
            self.clock.at(on_at, self._switch, life, True)
        if life.name == OUTSIDE:
            self.clock.at(self._answered_from(life.off[0][1]) + 5 * DAY_S, self._claim_anew, life)
        self._look_later(life, 0.0)

    def _was_away(self, at_s: float) -> bool:
        """Whether the controller returned in the day before `at_s`: no device could renew while it was off."""
        return any(ends <= at_s < ends + DAY_S for _, ends in self.controller_off)

    def _answered_from(self, at_s: float) -> float:
        """Returns when a device that returns at `at_s` finds a controller: until then it is not refused and gets no
        claim.
        """
        return next((ends for begins, ends in self.controller_off if begins <= at_s < ends), at_s)

    def _switch(self, life: Life, on: bool) -> None:
        life.booted += 1
        if on:
            life.back_at = self.clock.now
            life.renewal.retry_at = 0.0  # a new process
            self._look_later(life, REBOOT_S)

    def _claim_anew(self, life: Life) -> None:
        life.enrolled.append(self._enrol(life.name))
        life.ca, life.renewal = self.authorities.pem, self._new_renewal(life.name, life.pairs, life.draws)
        self._switch(life, on=True)

    def _look_later(self, life: Life, delay_s: float) -> None:
        self.clock.after(delay_s, self._look, life, life.booted)

    def _look(self, life: Life, booted: int) -> None:
        """Does what `adapters.renewer` does; here the next check is at the next time at which something can be due."""
        if booted != life.booted or self._is_off(life):
            return
        now = self.clock.now
        try:
            if life.renewal.is_due(now, self.today):
                life.renewal.attempt(now)
            due = due_at(life.pairs.current(), life.name)
        except PowerCut:
            life.flash.lose_power()
            self._switch(life, on=True)
            return
        due_s = (due - WORLD_BEGAN).total_seconds()
        waits = 0.0 if life.pairs.next() is not None else due_s - now
        self._look_later(life, max(1.0, waits, life.renewal.retry_at - now))

    def _is_off(self, life: Life) -> bool:
        return any(begins <= self.clock.now < ends for begins, ends in life.off)

    def _answer(self, name: str, asked: RenewRequest, draws: Random) -> Certificate:
        if self._controller_is_off() or draws.random() < self.odds.unreachable:
            raise WorldError(Code.CONTROLLER_UNREACHABLE, "away")
        try:
            made = self.enrolment.renew(asked.certificate, asked.csr, asked.signature, self.today)
        except ClaimRefused as error:
            self.refused.append((self.clock.now, error.device, error.words))
            raise BadInput(error.code, error.detail) from None
        if draws.random() < self.odds.answer_lost:
            raise WorldError(Code.CONTROLLER_UNREACHABLE, "the answer was lost")
        return Certificate(
            device=name,
            certificate=pem(made),
            ca=self.authorities.pem,
            introductions=self.authorities.introductions(asked.csr),
        )

    def _accepts(self, pair: KeyPair, draws: Random) -> str:
        if draws.random() < self.odds.broker_away:
            raise WorldError(Code.BROKER_UNREACHABLE, "away")
        return self._why_refused(pair)

    def _why_refused(self, pair: KeyPair) -> str:
        certificate = x509.load_pem_x509_certificate(pair.certificate.encode())
        if not pair.begins <= self.today < pair.ends:
            return f"good from {pair.begins} to {pair.ends}"
        for authority in self.authorities.trusted.values():
            try:
                certificate.verify_directly_issued_by(authority.certificate)
            except (ValueError, InvalidSignature):
                continue
            return ""
        return "of an authority that is retired"

    def _controller_is_off(self) -> bool:
        return any(begins <= self.clock.now < ends for begins, ends in self.controller_off)

    def _daily(self) -> None:
        if self._controller_is_off():
            return
        credentials, now = self.enrolment.credentials, self.today.timestamp()
        for each in expiring((), credentials.newest_expiries(now), self._own(), now):
            if credentials.warn_once(each.subject, each.what, each.expires, each.mark_days):
                self.warned.append((self.clock.now, each.subject, each.what, each.expires, each.mark_days))
        credentials.forget_expired(now - 2 * RENEWAL_GRACE_DAYS * DAY_S)
        self.trust.refresh(self.today)
        if len(self.authorities.trusted) > 1 and not credentials.rely_on("ca", now):
            self.authorities.retire("ca")
            self.retired_at.append(self.clock.now)
        for life in self.lives.values():
            self._check_let_in(life)

    def _own(self) -> dict[str, float]:
        rows = repository.describe(self.trust.files)
        return {
            f"role {row['role']}": datetime.fromisoformat(row["expires"]).astimezone(UTC).timestamp()
            for row in rows
            if row["expires"] and row["role"] in ("root", "targets")
        }

    def _check_let_in(self, life: Life) -> None:
        """Checks that a device that is on has a certificate that the broker accepts, while a controller runs."""
        now = self.clock.now
        outages = [life.back_at, *self.retired_at, *(end for _, end in self.controller_off if end <= now)]
        if self._is_off(life) or any(now - end < SETTLES_S for end in outages) or self._is_outside(life):
            return
        words = self._why_refused(life.pairs.current())
        hold(not words, "inside_is_let_in", life.name, now, words)
        known = (life.pairs.authorities() if life.pairs.renewed else "") or life.ca
        hold(self.authorities.oldest.pem in known, "knows_the_broker", life.name, now, "does not know its authority")

    def _is_outside(self, life: Life) -> bool:
        back, new_claim = life.off[0][1] if life.name == OUTSIDE else 0.0, len(life.enrolled) > 1
        return life.name == OUTSIDE and self.clock.now >= back and not new_claim

    def _judge(self) -> None:
        now = self.clock.now
        told = [(subject, what, expires, mark) for _, subject, what, expires, mark in self.warned]
        hold(len(told) == len(set(told)), "told_once", "controller", now, "somebody was told twice")
        by = {name: [mark for _, subject, *_, mark in self.warned if subject == name] for name in self.lives}
        hold(by[OUTSIDE] == [30, 7, 1, 0], "outside_is_told", OUTSIDE, now, f"warned at {by[OUTSIDE]} days")
        refusals = [words for _, device, words in self.refused if device == OUTSIDE]
        hold(any("expired" in words for words in refusals), "outside_is_told", OUTSIDE, now, "its refusal is not told")
        others = [(device, words) for _, device, words in self.refused if device != OUTSIDE]
        hold(not others, "inside_is_never_refused", "controller", now, f"refused {others[:3]}")
        controller = [what for _, subject, what, *_ in self.warned if subject == "controller"]
        hold(not controller, "roles_stay_young", "controller", now, f"{controller[:3]} had less than 30 days")
        for life in self.lives.values():
            warned = [(at, mark) for at, subject, *_, mark in self.warned if subject == life.name]
            vain = [mark for at, mark in warned if not self._was_away(at) and not _was_off(life, at)]
            hold(not vain, "nobody_warns_in_vain", life.name, now, f"warned at {vain} days")
            if not self._is_off(life):
                hold(not self._why_refused(life.pairs.current()), "inside_is_let_in", life.name, now, "at the end")
        left = list(self.authorities.trusted)
        hold(left == ["ca-2"], "authority_is_retired", "controller", now, f"trusted at the end: {left}")


def _was_off(life: Life, at_s: float) -> bool:
    """Whether the device was off at a time or returned in the day before it: it could not renew."""
    return any(begins <= at_s < ends + DAY_S for begins, ends in life.off)


def _interval(draws: Random, day: float, days: float, *, exact: bool = False) -> tuple[float, float]:
    begins = (day if exact else day + 10 * draws.random()) * DAY_S
    return begins, begins + days * DAY_S


def run_certificates(seed: int) -> str:
    """Runs one world with this seed. Returns the violation in words, empty for none."""
    with TemporaryDirectory() as scratch:
        world = CertificateWorld(seed, Path(scratch))
        try:
            world.run()
        except Violation as broken:
            return str(broken)
        except (AssertionError, ArithmeticError, LookupError, TypeError, ValueError, OSError, EdgewardError) as error:
            return f"never_falls_over: {type(error).__name__}: {error}"
        finally:
            world.close()
    return ""


def sweep_certificates(seeds: Sequence[int], processes: int) -> Iterator[tuple[int, str]]:
    """(seed, violation) of many worlds over several processes, in order of completion."""
    with get_context("spawn").Pool(processes) as pool:
        yield from pool.imap_unordered(_numbered, seeds)


def _numbered(seed: int) -> tuple[int, str]:
    return seed, run_certificates(seed)
