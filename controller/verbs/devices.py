"""Requests about one device: claim, enrol, renew, revoke, unquarantine, explain.

Decides what a revocation ends: certificates, the broker's permission by its revocation list, and the open session.
Refuses to know HTTP, and how certificates are made.
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
from controller.fleet.twin import Twin
from controller.reconcile.why import WhyItem, why_items
from controller.state import State
from controller.trust.certificates import CRL_RENEW_DAYS, pem
from controller.trust.enrolment import ClaimRefused
from controller.trust.refusals import Refusal
from controller.verbs import refusals

REFUSED_MARK = -1
"""A value in addition to the marks of `fleet.expiry`: a device asked for renewal with its own key, but too late."""

_log = logging.getLogger("edgeward.controller")


def claim(state: State, device: str, *, actor: str, action: str = "device claim") -> Claim:
    """A secret with which the device may enrol once, and other facts that it needs.

    The known own labels of a device come with it, because new hardware has none. Labels that were given here stay here.
    BadInput `name_invalid`, `device_retired`, `device_enrolled`.
    """
    if device in state.world.durable.retired:
        raise BadInput(Code.DEVICE_RETIRED, f"{device} was retired: `edgeward device adopt {device}` takes it in again")
    check_free(state, device, actor=actor, action=action)
    token = state.enrolment.claim(device, today())
    twin = state.world.durable.twins.get(device)
    state.journal.audit(stamp(), actor, action, device)
    return Claim(
        url=state.public_url,
        token=token,
        device=device,
        broker_url=state.broker.url if state.broker else "",
        ca=state.enrolment.authorities.pem,
        root=state.trust_metadata.root(),
        labels=twin.own_labels if twin is not None else {},
    )


def check_free(state: State, device: str, *, actor: str, action: str) -> None:
    """Refuses a claim for a name that is in use: another machine could use it in place of the device.

    A name is in use while its certificate is valid or may be renewed, or, without any certificate, once the device
    has sent a message. The refusal is in the audit. BadInput `name_invalid`, `device_enrolled`.
    """
    check_device_name(device)
    twin = state.world.durable.twins.get(device)
    heard = twin is not None and twin.boots.current is not None and not state.credentials.enrolled(device)
    if heard or state.enrolment.in_use(device, today()):
        words = "a device goes by this name" + ("" if heard else " and holds its certificate")
        refusals.refuse(state, Refusal(actor, f"{action} refused", device, words))
        raise BadInput(Code.DEVICE_ENROLLED, f"{words}: `edgeward device replace {device}` is for new hardware")


def enrol(state: State, asked: EnrolRequest) -> Certificate:
    """Makes the certificate of a device that holds a claim. BadInput `request_invalid`, `claim_refused`."""
    try:
        return _granted(state, state.enrolment.enrol(asked.token, asked.csr, today()), asked.csr, "device enrolled")
    except ClaimRefused as error:
        _refused(state, error)
        raise


def renew(state: State, asked: RenewRequest) -> Certificate:
    """Makes a new certificate for a device that signed the request with its old key.

    BadInput `request_invalid`, `claim_refused`.
    """
    try:
        known, gone = state.enrolment.knows(asked.certificate), state.world.durable.retired
        certificate = state.enrolment.renew(asked.certificate, asked.csr, asked.signature, today(), gone=gone)
        action = "certificate renewed" if known else "certificate taken in"
        return _granted(state, certificate, asked.csr, action)
    except ClaimRefused as error:
        _refused(state, error)
        raise


async def revoke(state: State, device: str, *, actor: str) -> int:
    """Revokes a device's certificates and ends its session; returns the number of certificates.

    BadInput `name_invalid`, `unknown_device`.
    """
    check_device_name(device)
    if not _is_known(state, device) and not state.credentials.claimed(device):
        raise BadInput(
            Code.UNKNOWN_DEVICE, f"no device {device!r} has reported, and it has neither certificate nor claim"
        )
    now = today()
    count = state.credentials.revoke(device, now.timestamp())
    state.senders.forget(device)
    state.journal.audit(stamp(), actor, "device revoke", device, f"{count} certificates")
    if state.broker is not None and state.broker.files is not None:
        await enforce_revocations(state, now)
        await end_session(state, device, now)
    return count


async def end_session(state: State, device: str, now: datetime) -> None:
    """Ends the session of a device whose certificate was revoked, on a broker under mutual TLS."""
    broker = state.broker
    assert broker is not None
    assert broker.files is not None
    ended = await asyncio.to_thread(broker.files.end_session, broker.port, device, state.enrolment.authority, now)
    _log.info("revoked %s; its session was %s", device, "ended" if ended else "not there")


async def keep_revocations_young(state: State) -> None:
    """Makes a new revocation list when it is CRL_RENEW_DAYS old, because with an expired list the broker refuses every
    device.
    """
    if state.broker is None or state.broker.files is None:
        return
    if time.time() - state.credentials.newest_list_at() > CRL_RENEW_DAYS * 86_400:
        await enforce_revocations(state, today())


def unquarantine(state: State, *devices: str, actor: str) -> int:
    """Lifts every quarantine of devices; returns the number of quarantined versions on all of them together.

    BadInput `unknown_device` names unknown ones, after the quarantines of all others are lifted.
    """
    unknown = [device for device in devices if not _is_known(state, device)]
    known = [device for device in devices if device not in unknown]
    state.records.lift_quarantine(*known)
    total = 0
    for device in known:
        lifted = state.world.durable.quarantine.pop(device, {})
        state.journal.audit(
            stamp(),
            actor,
            "device unquarantine",
            device,
            f"{len(lifted)} quarantined {'version' if len(lifted) == 1 else 'versions'}",
        )
        total += len(lifted)
    if unknown:
        others = f"; {total} versions may be offered to the other {len(known)} again" if known else ""
        raise BadInput(Code.UNKNOWN_DEVICE, f"no device {', '.join(unknown[:3])[:200]!r} has reported{others}")
    return total


def _is_known(state: State, device: str) -> bool:
    """Whether a device has reported, was retired, has a quarantined version, or has ever had a certificate."""
    durable = state.world.durable
    kept = (durable.twins, durable.retired, durable.quarantine)
    return any(device in each for each in kept) or state.credentials.enrolled(device)


def explain(state: State, device: str) -> list[str]:
    """Explains in sentences why a device runs its versions. BadInput `unknown_device`."""
    return [item.sentence for item in explain_items(state, device)]


def explain_items(state: State, device: str) -> list[WhyItem]:
    """Returns the same as items, each with its kind and its rollout. BadInput `unknown_device`."""
    durable = state.world.durable
    twin, retired = durable.twins.get(device), durable.retired.get(device)
    if twin is None and retired is None:
        raise BadInput(Code.UNKNOWN_DEVICE, f"no device {device[:64]!r} has ever reported")
    history = [(at, msgspec.json.decode(body, type=Report)) for at, body in state.journal.history_of(device)]
    faults = [
        (model, release, code, words)
        for (name, model, release), found in sorted(state.world.measured.faults.items())
        if name == device
        for code, words in sorted(found.items())
    ]
    quarantined = durable.quarantine.get(device, {})
    told = why_items(twin or Twin(device), durable.rollouts, history, quarantined, faults=faults)
    if retired is None:
        return told
    return [*told, WhyItem("", "retired", f"It was retired at {retired.at} by {retired.by}.")]


def _granted(state: State, certificate: x509.Certificate, request: str, action: str) -> Certificate:
    device = certificate.subject.rfc4514_string().removeprefix("CN=")
    state.senders.forget(device)
    state.journal.audit(stamp(), device, action, device)
    authorities = state.enrolment.authorities
    introductions = authorities.introductions(request)
    return Certificate(device=device, certificate=pem(certificate), ca=authorities.pem, introductions=introductions)


def _refused(state: State, error: ClaimRefused) -> None:
    refusals.refuse(state, Refusal("unknown", "enrol refused", "device", error.words))
    if error.device and state.credentials.warn_once(error.device, "renewal", error.expires, REFUSED_MARK):
        state.events.tell_expiry(error.device, "renewal", error.expires, time.time())


async def enforce_revocations(state: State, now: datetime) -> None:
    """Gives a broker under mutual TLS a new list of revoked certificates, and makes sure that the broker uses it."""
    assert state.broker is not None
    assert state.broker.files is not None
    state.broker.files.write_access(state.enrolment, now)
    if not await asyncio.to_thread(state.broker.reload):
        state.journal.audit(
            stamp(), "controller", "broker restart", "mosquitto", "a reload did not revoke a certificate"
        )
