"""Certificates: the issued ones, revocation, a second authority beside the first, and the controller's own
certificates.

Decides when the controller renews its own certificates, when people are warned of expiries, and what a change of
authorities requires. Refuses to know HTTP, and how certificates are made.
"""

import asyncio
import logging
import time

from contract.errors import BadInput, Code
from contract.names import SERVICE_PREFIX
from controller.broker.mutual_tls import BrokerFiles
from controller.broker.process import RunningBroker
from controller.clock import stamp, today
from controller.fleet.expiry import MAX_WARNINGS, expiring
from controller.registry.credentials import Credential
from controller.state import State
from controller.trust.enrolment import DAY_S, RENEWAL_GRACE_DAYS
from controller.verbs.devices import end_session, enforce_revocations
from controller.verbs.health import own_expiries

LOOK_S = 10.0
"""Seconds between two checks of the controller's own certificates: a check reads eight small files."""
WARN_S = 300.0
"""Seconds between two checks of what expires in the whole fleet: warnings come days before."""

_log = logging.getLogger("edgeward.controller")


async def keep_young(state: State) -> bool:
    """Renews the controller's own certificates and warns of what expires; returns whether its connections must be made
    again.
    """
    now = time.monotonic()
    if now >= state.warn_look_at:
        state.warn_look_at = now + WARN_S
        warn(state)
    if now < state.own_look_at or state.broker is None or state.broker.files is None:
        return False
    state.own_look_at = now + LOOK_S
    await _renew_own(state, state.broker, state.broker.files)
    return state.broker.files.service_serials() != state.linked_by


async def _renew_own(state: State, broker: RunningBroker, files: BrokerFiles) -> None:
    config, now = state.config.broker, today()
    if not state.broker_outdated and not files.stale(config, state.enrolment, now):
        return
    renewed = files.renew(config, state.enrolment, now)
    state.journal.audit(stamp(), "controller", "certificates renewed", "broker", ", ".join(renewed))
    if state.broker_outdated:
        await asyncio.to_thread(broker.start_again)
        state.broker_outdated = False
    elif not await asyncio.to_thread(broker.show_new_certificate):
        state.journal.audit(stamp(), "controller", "broker restart", "mosquitto", "a reload did not take all files")


def warn(state: State) -> None:
    """Warns of everything that has passed a mark, in the log and as an event: once for each mark, also after
    restarts.
    """
    now = time.time()
    own = {what: end.timestamp() for what, end in own_expiries(state).items()}
    certificates = state.credentials.newest_expiries(now)
    twins = state.world.durable.twins.values()
    told = 0
    for each in expiring(twins, certificates, own, now):
        if state.credentials.warn_once(each.subject, each.what, each.expires, each.mark_days):
            state.events.tell_expiry(each.subject, each.what, each.expires, now)
            left = (each.expires - now) / DAY_S
            words = f"expires in {left:.1f} days" if left > 0 else "has expired"
            _log.warning("%s of %s %s", each.what, each.subject, words)
            told += 1
        if told >= MAX_WARNINGS:
            break
    if told:
        state.credentials.forget_expired(now - 2 * RENEWAL_GRACE_DAYS * DAY_S)


async def revoke(state: State, serial: int, *, actor: str) -> Credential:
    """Revokes one certificate, of a service or a device. A service of this controller gets a new one at once.

    BadInput `unknown_certificate`.
    """
    known = state.credentials.certificate(serial)
    if known is None:
        raise BadInput(Code.UNKNOWN_CERTIFICATE, f"no certificate {serial:x}: `edgeward certificate list`")
    state.credentials.revoke_serial(serial, time.time())
    state.senders.forget(known.device)
    state.journal.audit(stamp(), actor, "certificate revoke", known.device, f"{serial:x}")
    if state.broker is not None and state.broker.files is not None:
        await enforce_revocations(state, today())
        if not known.device.startswith(SERVICE_PREFIX):
            await end_session(state, known.device, today())
    look_soon(state)
    return state.credentials.certificate(serial) or known


def add_authority(state: State, *, actor: str) -> str:
    """Makes one more authority, which issues from now on. BadInput `request_invalid` for too many."""
    name = state.enrolment.authorities.add(today())
    state.journal.audit(stamp(), actor, "authority add", name)
    state.broker_outdated = True
    look_soon(state)
    return name


def retire_authority(state: State, name: str, *, force: bool, actor: str) -> str:
    """Ends trust in an authority. BadInput `authority_in_use` names devices that have no certificate of another; with
    `force` those need new claims.
    """
    relying = relying_on(state, name)
    if relying and not force:
        first = ", ".join(relying[:3])
        raise BadInput(Code.AUTHORITY_IN_USE, f"{len(relying)} devices rely on {name} alone, the first are {first}")
    state.enrolment.authorities.retire(name)
    state.journal.audit(stamp(), actor, "authority retire", name, f"{len(relying)} devices relied on it")
    state.broker_outdated = True
    look_soon(state)
    return name


def relying_on(state: State, name: str) -> list[str]:
    """Returns devices whose only valid certificates come from this authority."""
    found = state.credentials.rely_on(name, time.time())
    return [subject for subject in found if not subject.startswith(SERVICE_PREFIX)]


def look_soon(state: State) -> None:
    """Makes the next pass check the controller's own certificates."""
    state.own_look_at = 0.0
    state.poke()
