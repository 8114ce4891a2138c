"""The routes of events and of deployment policies."""

import asyncio
import time
from typing import Any

from aiohttp import web

from contract.wire import Message, decode, encode
from controller.api.auth import actor_of, still_good
from controller.api.route import Route
from controller.api.state_key import STATE
from controller.events.cloudevents import Event
from controller.verbs import policies
from controller.verbs.policies import DeploymentPolicy
from controller.verbs.rollouts import resolve_strategy

KEEP_ALIVE_S = 15.0
RECHECK_S = 1.0
"""Seconds between checks of the caller's token: a stream ends at most this long after its token."""
WRITE_S = 30.0
"""Seconds after which a listener that reads nothing is disconnected."""


class DeploymentRequest(Message, frozen=True):
    """The policy by which every version of a model that passes its gates is rolled out."""

    strategy: str | dict[str, Any] = "canary"
    selector: dict[str, str] = {}
    approval: bool = False
    """True: each rollout waits for the approval of a second person."""


async def stream_events(request: web.Request) -> web.StreamResponse:
    """Streams server-sent events, one CloudEvent each. With `Last-Event-ID`, kept events after that one come first."""
    events = request.app[STATE].events
    answer = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    await answer.prepare(request)
    listener = events.listen(request.headers.get("Last-Event-ID", ""))
    try:
        while not listener.lost and (text := await _next(request, listener.queue)):
            async with asyncio.timeout(WRITE_S):
                await answer.write(text)
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
    except ConnectionResetError:
        pass  # the listener has disconnected
    finally:
        events.leave(listener)
    return answer


async def _next(request: web.Request, queue: asyncio.Queue[Event]) -> bytes:
    """Returns the next text of the stream; an empty text once the caller's token is revoked or expired."""
    until = time.monotonic() + KEEP_ALIVE_S
    while time.monotonic() < until:
        try:
            event = await asyncio.wait_for(queue.get(), RECHECK_S)
        except TimeoutError:
            event = None
        if not still_good(request):
            return b""
        if event is not None:
            return _as_text(event)
    return b": still here\n\n"


def _as_text(event: Event) -> bytes:
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (event.id.encode(), event.type.encode(), encode(event))


async def list_deployments(request: web.Request) -> dict[str, DeploymentPolicy]:
    """Returns the policies by model."""
    return policies.all_policies(request.app[STATE])


async def set_deployment(request: web.Request) -> DeploymentPolicy:
    """Sets the policy of a model."""
    wanted = decode(await request.read(), DeploymentRequest)
    return policies.set_policy(
        request.app[STATE],
        request.match_info["model"],
        resolve_strategy(wanted.strategy),
        wanted.selector,
        approval=wanted.approval,
        actor=actor_of(request),
    )


async def remove_deployment(request: web.Request) -> dict[str, str]:
    """Removes the policy of a model. After that a person must start its rollouts."""
    model = request.match_info["model"]
    policies.remove_policy(request.app[STATE], model, actor=actor_of(request))
    return {"removed": model}


_POLICY = "/v1/models/{model}/deployment"
EVENT_ROUTES = (
    Route("view", "GET", "/v1/events", stream_events, "Server-sent CloudEvents of rollouts and of health", Event),
    Route("view", "GET", "/v1/deployments", list_deployments, "Policies by model", dict[str, DeploymentPolicy]),
    Route(
        "rollout",
        "PUT",
        _POLICY,
        set_deployment,
        "Roll out each version that passes its gates",
        DeploymentPolicy,
        DeploymentRequest,
    ),
    Route("rollout", "DELETE", _POLICY, remove_deployment, "Let people start rollouts again", dict[str, str]),
)
