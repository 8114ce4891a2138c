"""Asks one device for its newest log lines or its doctor's findings, over MQTT, and waits a bounded time.

Decides the error for a device that is offline or does not answer. Every question is in the audit before it is sent.
Refuses to know HTTP and roles.
"""

import asyncio
import secrets
import time

from contract import topics
from contract.errors import Code, WorldError
from contract.inquiries import Answered, Inquiry, What
from contract.manifest import Manifest
from contract.protocol import PROTOCOL
from contract.trust.inquiries import sign_inquiry
from contract.wire import encode
from controller.clock import stamp
from controller.fleet.twin import Twin
from controller.state import State
from controller.verbs.device_labels import known_twin

WAIT_S = 10.0
"""Seconds to wait for an answer: a doctor's checks take a second or two on a slow disk, and a person waits for it."""


async def ask(
    state: State,
    device: str,
    what: What,
    lines: int,
    *,
    actor: str,
    candidate: Manifest | None = None,
    wait_s: float | None = None,
    words: str = "",
) -> Answered:
    """Returns a device's answer; `words` are for the audit.

    BadInput `unknown_device`, `device_retired`, `busy`; WorldError `device_unreachable`, `broker_unreachable`.
    """
    twin, wait_s = known_twin(state, device), wait_s or WAIT_S
    _check_reachable(state, twin)
    inquiry = sign_inquiry(
        Inquiry(
            protocol=PROTOCOL,
            device=device,
            id=secrets.token_hex(16),
            what=what,
            lines=lines,
            issued=int(time.time()),
            keyid="",
            candidate=candidate,
        ),
        state.trust_metadata.director,
    )
    waiting = state.inquiries.open(device, inquiry.id)
    try:
        state.journal.audit(stamp(), actor, f"device {what}", device, words or f"at most {lines} lines")
        state.links[0].publish(topics.inquiry(device), encode(inquiry), retain=False)
        return await asyncio.wait_for(waiting, wait_s)
    except TimeoutError:
        raise WorldError(Code.DEVICE_UNREACHABLE, _no_answer(device, twin, wait_s, time.time())) from None
    finally:
        state.inquiries.close(device)


def _check_reachable(state: State, twin: Twin) -> None:
    if not state.connected:
        raise WorldError(Code.BROKER_UNREACHABLE, "the controller has no connection to the broker: edgeward status")
    presence = twin.presence(time.time(), state.world.silent_s)
    if presence != "online":
        heard = f", last heard {time.time() - twin.seen_at:.0f} s ago" if twin.seen_at else ""
        words = f"{twin.device} is {presence}{heard}: nobody there would hear the question"
        raise WorldError(Code.DEVICE_UNREACHABLE, words)


def _no_answer(device: str, twin: Twin, wait_s: float, now: float) -> str:
    heard = f"{now - twin.seen_at:.0f} s before it was given up" if twin.seen_at else "never"
    return (
        f"{device} did not answer within {wait_s:.0f} s; it was last heard {heard}. It may be too slow, its clock may "
        "be off by more than a minute, or its agent is too old to be asked; on the device: edgeward-agent doctor"
    )
