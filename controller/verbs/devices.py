"""What an operator and a device can ask about one device: claim, enrol, renew, revoke, lift a quarantine, say why.

Decides what an end of trust means: certificates, the broker's revocation list, and the live session. Refuses to know
HTTP, and how certificates are made.
"""

import asyncio
import logging
import time
from datetime import datetime

import msgspec
from cryptography import x509

from contract.enrolment import Certificate, Claim, EnrolRequest, RenewRequest
from contract.errors import BadInput, Code
from contract.messages import Report
from contract.names import check_device_name
from controller.clock import stamp, today
from controller.reconcile.why import why
from controller.state import State
from controller.trust.certificates import CRL_RENEW_DAYS, pem
from controller.trust.enrolment import ClaimRefused
from controller.trust.refusals import Refusal
from controller.verbs import refusals

_log = logging.getLogger("edgeward.controller")


def claim(state: State, device: str, *, actor: str) -> Claim:
    """A secret with which the device may enrol once, and what else it needs. BadInput `name_invalid`."""
    token = state.enrolment.claim(device, today())
    state.journal.audit(stamp(), actor, "device claim", device)
    return Claim(
        url=state.public_url,
        token=token,
        device=device,
        broker_url=state.broker.url if state.broker else "",
        ca=state.enrolment.authority.pem,
        root=state.trust_metadata.root(),
    )


def enrol(state: State, asked: EnrolRequest) -> Certificate:
    """Trades a claim for a certificate. BadInput `request_invalid`, `claim_refused`."""
    try:
        return _granted(state, state.enrolment.enrol(asked.token, asked.csr, today()))
    except ClaimRefused as error:
        _refused(state, error)
        raise


def renew(state: State, asked: RenewRequest) -> Certificate:
    """The next certificate of a device that holds the old one's key. BadInput `request_invalid`, `claim_refused`."""
    try:
        return _granted(state, state.enrolment.renew(asked.certificate, asked.csr, asked.signature, today()))
    except ClaimRefused as error:
        _refused(state, error)
        raise


async def revoke(state: State, device: str, *, actor: str) -> int:
    """Takes a device's certificates away and ends its session; how many certificates that were.

    BadInput `name_invalid`.
    """
    check_device_name(device)
    now = today()
    count = state.credentials.revoke(device, now.timestamp())
    state.senders.forget(device)
    state.journal.audit(stamp(), actor, "device revoke", device, f"{count} certificates")
    if state.broker is not None and state.broker.files is not None:
        await _enforce_revocations(state, now)
        ended = await asyncio.to_thread(
            state.broker.files.end_session, state.broker.port, device, state.enrolment.authority, now
        )
        _log.info("revoked %s; its session was %s", device, "ended" if ended else "not there")
    return count


async def keep_revocations_young(state: State) -> None:
    """Makes a new revocation list every day: a list past its date locks every device out."""
    if state.broker is None or state.broker.files is None:
        return
    if time.time() - state.credentials.newest_list_at() > CRL_RENEW_DAYS * 86_400:
        await _enforce_revocations(state, today())


def unquarantine(state: State, device: str, *, actor: str) -> int:
    """Lifts every quarantine of a device; how many there were."""
    state.records.lift_quarantine(device)
    lifted = state.world.durable.quarantine.pop(device, {})
    state.journal.audit(stamp(), actor, "device unquarantine", device, f"{len(lifted)} quarantined versions")
    return len(lifted)


def explain(state: State, device: str) -> list[str]:
    """Why a device runs what it runs, in sentences. BadInput `unknown_device`."""
    durable = state.world.durable
    twin = durable.twins.get(device)
    if twin is None:
        raise BadInput(Code.UNKNOWN_DEVICE, f"no device {device[:64]!r} has ever reported")
    history = [(at, msgspec.json.decode(body, type=Report)) for at, body in state.journal.history_of(device)]
    faults = [
        (model, release, code, words)
        for (name, model, release), found in sorted(state.world.measured.faults.items())
        if name == device
        for code, words in sorted(found.items())
    ]
    return why(twin, durable.rollouts, history, durable.quarantine.get(device, {}), faults=faults)


def _granted(state: State, certificate: x509.Certificate) -> Certificate:
    device = certificate.subject.rfc4514_string().removeprefix("CN=")
    state.senders.forget(device)
    state.journal.audit(stamp(), device, "device enrolled", device)
    return Certificate(device=device, certificate=pem(certificate), ca=state.enrolment.authority.pem)


def _refused(state: State, error: ClaimRefused) -> None:
    refusals.refuse(state, Refusal("unknown", "enrol refused", "device", error.words))


async def _enforce_revocations(state: State, now: datetime) -> None:
    assert state.broker is not None
    assert state.broker.files is not None
    state.broker.files.write_access(state.enrolment, now)
    if not await asyncio.to_thread(state.broker.reload):
        state.journal.audit(stamp(), "controller", "broker restart", "mosquitto", "a reload let the canary in")
