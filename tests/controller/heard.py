"""Passes messages of devices to a controller without a broker and runs the pass that handles them."""

import asyncio

from contract import topics
from contract.messages import Heartbeat, Presence, Report, Telemetry
from contract.wire import encode
from controller.service import Service
from controller.state import State

_TOPICS = {
    Heartbeat: topics.heartbeat,
    Presence: topics.presence,
    Report: topics.report,
    Telemetry: topics.telemetry,
}


def hear(state: State, *messages: Heartbeat | Presence | Report | Telemetry) -> None:
    for message in messages:
        assert state.inbox.put(_TOPICS[type(message)](message.device), encode(message))
    asyncio.run(Service(state).one_pass())
