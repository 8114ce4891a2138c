"""The routes of retraining: policies, proposals, decisions, attempts, and reports of workers."""

from typing import Annotated

import msgspec
from aiohttp import web

from contract.errors import BadInput, Code
from contract.protocol import MAX_DETAIL_CHARS
from contract.wire import Message, decode
from controller.api import views
from controller.api.auth import actor_of, subject_of
from controller.api.route import Route
from controller.api.state_key import STATE
from controller.retraining.explain import explain, explain_decision
from controller.retraining.model import Decision, Proposal, Retraining
from controller.retraining.policy import RetrainingPolicy
from controller.verbs import retraining

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Words = Annotated[str, msgspec.Meta(max_length=MAX_DETAIL_CHARS)]
MAX_MODELS = 100
"""The most models that one worker trains."""
MAX_DECISIONS = 1_000
"""The most decisions in one answer."""


class ProposeRequest(Message, frozen=True):
    """A proposal to retrain: by a person, or by an alert."""

    detail: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_DETAIL_CHARS)]
    alert: bool = False
    """Whether an alert proposes it: then the policy judges it like its own triggers."""


class DeclineRequest(Message, frozen=True):
    """A person's refusal."""

    reason: Words = ""


class ClaimRequest(Message, frozen=True):
    """A worker that asks for work."""

    worker: Name
    models: Annotated[tuple[Name, ...], msgspec.Meta(min_length=1, max_length=MAX_MODELS)]


class Claimed(Message, frozen=True):
    """The attempt that a worker got; None if none waits."""

    retraining: Retraining | None
    policy: RetrainingPolicy | None


class HeardRequest(Message, frozen=True):
    """A report that a worker is alive."""

    worker: Name
    step: Annotated[str, msgspec.Meta(max_length=64)] = ""


class FailedRequest(HeardRequest, frozen=True):
    """A pipeline that failed, with the end of its output."""

    detail: Words = ""
    log: Annotated[str, msgspec.Meta(max_length=16_384)] = ""


async def list_retraining(request: web.Request) -> list[Retraining]:
    """Returns attempts, newest first; `model`: only those for one model."""
    return request.app[STATE].retrainings.attempts(_model_of(request))[::-1]


async def list_decisions(request: web.Request) -> list[Decision]:
    """Returns decisions of the policies, newest first, also those against training, with reasons; `model`: only those
    for one.
    """
    limit = request.query.get("limit", "100")
    if not limit.isdigit() or not 0 < int(limit) <= MAX_DECISIONS:
        raise BadInput(Code.REQUEST_INVALID, f"limit={limit[:20]!r}: expected 1 to {MAX_DECISIONS}")
    return request.app[STATE].retrainings.decisions(_model_of(request), int(limit))


def _model_of(request: web.Request) -> str:
    """Returns the model of the query; empty: all. BadInput `unknown_model` for one without any version."""
    if model := request.query.get("model", ""):
        request.app[STATE].registry.versions(model)
    return model


async def show_retraining(request: web.Request) -> Retraining:
    """Returns one attempt."""
    return retraining.find(request.app[STATE], request.match_info["retraining"])


async def explain_retraining(request: web.Request) -> views.Sentences:
    """Returns why an attempt began and what came of it."""
    return views.Sentences(explain(await show_retraining(request)))


async def explain_model(request: web.Request) -> views.Sentences:
    """Returns why a model was trained again, or was not: its newest decision."""
    state, model = request.app[STATE], request.match_info["model"]
    policy = retraining.policy_of(state, model)
    newest = state.retrainings.decisions(model, 1)
    nothing = [f"Nothing has proposed to retrain {model} yet. The policy looks every {policy.look_s:.0f} s."]
    return views.Sentences(explain_decision(newest[0]) if newest else nothing)


async def show_policy(request: web.Request) -> RetrainingPolicy:
    """Returns the retraining policy of a model."""
    return retraining.policy_of(request.app[STATE], request.match_info["model"])


async def set_policy(request: web.Request) -> RetrainingPolicy:
    """Sets the retraining policy of a model."""
    policy = decode(await request.read(), RetrainingPolicy)
    return retraining.set_policy(request.app[STATE], request.match_info["model"], policy, actor=actor_of(request))


async def remove_policy(request: web.Request) -> RetrainingPolicy:
    """Removes the retraining policy of a model; returns what it was."""
    state, model = request.app[STATE], request.match_info["model"]
    policy = retraining.policy_of(state, model)
    retraining.remove_policy(state, model, actor=actor_of(request))
    return policy


async def propose(request: web.Request) -> Decision:
    """Proposes to retrain a model; returns what the policy decides."""
    wanted = decode(await request.read(), ProposeRequest)
    proposal = Proposal(trigger="alert" if wanted.alert else "person", detail=wanted.detail)
    return retraining.propose(request.app[STATE], request.match_info["model"], proposal, actor=actor_of(request))


async def approve(request: web.Request) -> Retraining:
    """Approves a proposed training, so that it may begin."""
    name = request.match_info["retraining"]
    return retraining.approve(request.app[STATE], name, subject=subject_of(request))


async def decline(request: web.Request) -> Retraining:
    """Ends an attempt before a worker begins."""
    reason = decode(await request.read() or b"{}", DeclineRequest).reason
    return retraining.decline(request.app[STATE], request.match_info["retraining"], reason, actor=actor_of(request))


async def claim(request: web.Request) -> Claimed:
    """Gives an approved attempt to a worker."""
    state, wanted = request.app[STATE], decode(await request.read(), ClaimRequest)
    found = retraining.claim(state, wanted.worker, wanted.models, actor=actor_of(request))
    policy = retraining.policy_of(state, found.model) if found is not None else None
    return Claimed(retraining=found, policy=policy)


async def hear(request: web.Request) -> Retraining:
    """Notes that a worker is alive, and its step."""
    said = decode(await request.read(), HeardRequest)
    return retraining.hear(request.app[STATE], request.match_info["retraining"], said.worker, said.step)


async def fail(request: web.Request) -> Retraining:
    """Notes that a pipeline failed in a step."""
    said, name = decode(await request.read(), FailedRequest), request.match_info["retraining"]
    return retraining.fail(
        request.app[STATE],
        name,
        said.worker,
        step=said.step,
        detail=said.detail,
        log=said.log,
        actor=actor_of(request),
    )


_ALL, _ONE, _MODEL = "/v1/retraining", "/v1/retraining/{retraining}", "/v1/models/{model}/retraining"
RETRAINING_ROUTES = (
    Route("view", "GET", _ALL, list_retraining, "Attempts to retrain, newest first", list[Retraining]),
    Route("view", "GET", f"{_ALL}/decisions", list_decisions, "Why it was done, and why not", list[Decision]),
    Route("push", "POST", f"{_ALL}/claim", claim, "A worker asks for work", Claimed, ClaimRequest),
    Route("view", "GET", _ONE, show_retraining, "One attempt to retrain", Retraining),
    Route("view", "GET", f"{_ONE}/explain", explain_retraining, "Why, in sentences", views.Sentences),
    Route("approve", "POST", f"{_ONE}/approve", approve, "Let a training begin", Retraining),
    Route("rollout", "POST", f"{_ONE}/decline", decline, "End it before it begins", Retraining, DeclineRequest),
    Route("push", "POST", f"{_ONE}/heard", hear, "A worker's sign of life", Retraining, HeardRequest),
    Route("push", "POST", f"{_ONE}/failed", fail, "A pipeline failed", Retraining, FailedRequest),
    Route("view", "GET", _MODEL, show_policy, "A retraining policy", RetrainingPolicy),
    Route("rollout", "PUT", _MODEL, set_policy, "Set a retraining policy", RetrainingPolicy, RetrainingPolicy),
    Route("rollout", "DELETE", _MODEL, remove_policy, "End a retraining policy", RetrainingPolicy),
    Route("view", "GET", f"{_MODEL}/explain", explain_model, "Why it was trained, or not", views.Sentences),
    Route("rollout", "POST", f"{_MODEL}/propose", propose, "Propose to retrain", Decision, ProposeRequest),
)
