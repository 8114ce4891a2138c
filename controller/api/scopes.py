"""The one place that enforces scopes of tokens: a table of routes and what each of them reaches.

Decides that a change whose route is not in the table is refused for every token with a scope. Reading is not
limited: a caller with permission to view sees the whole fleet. Refuses to know what a scope contains: `trust.scope`
does.
"""

from collections.abc import Awaitable, Callable

from aiohttp import web

from contract.errors import BadInput, Code
from contract.run_sent import MAX_SENT_BYTES, SentRun
from contract.wire import Message, decode
from controller.api.auth import NEEDS, actor_of, entry_of, role_refusal, subject_of
from controller.api.device_label_routes import MAX_LABELS_BYTES, LabelsOfDevicesRequest, QuarantinedRequest
from controller.api.device_life_routes import MAX_DEVICES_BYTES, AdoptRequest, DevicesRequest
from controller.api.errors import Handler
from controller.api.event_routes import DeploymentRequest
from controller.api.pin_routes import PinRequest, UnpinRequest
from controller.api.retraining_routes import ClaimRequest
from controller.api.rollout_routes import RolloutRequest, filled
from controller.api.route import Route
from controller.api.state_key import STATE
from controller.api.template_routes import TemplateRequest
from controller.api.tuning_routes import TuneRequest
from controller.fleet.selection import select
from controller.state import State
from controller.trust.scope import Scope
from controller.verbs import retraining, scopes

Check = Callable[[web.Request, State, Scope], Awaitable[str]]
"""Returns why a request is outside a scope; empty if it is inside."""
DRY_RUN = ("POST", "/v1/rollouts/dry-run")
DRY_RUNS = frozenset({DRY_RUN, ("POST", "/v1/devices/pin/dry-run"), ("POST", "/v1/devices/unpin/dry-run")})
"""Each route is checked like the change itself, but it changes nothing, so the audit has no entry."""
CLOSED = "it reaches the whole fleet, or what everybody shares"


class ScopeRefusal(Message, frozen=True):
    """Whether the caller's role and scope allow an action."""

    words: str
    """The reason if they do not; empty if they do."""
    code: str
    """`forbidden`, `outside_scope`, or empty."""


@web.middleware
async def hold_scope(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuses changes outside the caller's scope: BadInput `outside_scope`. A change inside is audited
    with its scope.
    """
    needs = request.app[NEEDS].get(entry_of(request))
    if needs in (None, "nothing", "view") or request.match_info.http_exception is not None:
        return await handler(request)
    subject = subject_of(request)
    if not subject.scope.limits:
        return await handler(request)
    words = await outside(request, subject.scope)
    if words:
        raise BadInput(Code.OUTSIDE_SCOPE, scopes.refusal(subject.scope, words))
    answered = await handler(request)
    if request.method != "GET" and entry_of(request) not in DRY_RUNS:
        deed = f"{request.method} {request.path}"
        scopes.note(request.app[STATE], subject.scope, deed, actor=actor_of(request))
    return answered


async def outside(request: web.Request, scope: Scope) -> str:
    """Returns why a request is outside a scope; empty if it is inside."""
    check = REACHES.get(entry_of(request))
    return CLOSED if check is None else await check(request, request.app[STATE], scope)


async def show_refusal(request: web.Request) -> ScopeRefusal:
    """Whether the caller may act on a `rollout`, each `device`, a whole `model`, or, if none is named, on what all
    share. With a `deed`, such as `POST /v1/devices/retire`, also whether one of the caller's roles allows it.
    """
    state, subject, asked = request.app[STATE], subject_of(request), request.query
    scope, words = subject.scope, ""
    if deed := asked.get("deed", ""):
        method, _, path = deed.partition(" ")
        words = role_refusal(subject, request.app[NEEDS].get((method, path)))
    if words or not scope.limits:
        return ScopeRefusal(words, Code.FORBIDDEN if words else "")
    if "rollout" in asked:
        words = scopes.rollout(state, scope, asked["rollout"])
    elif "device" in asked:
        words = scopes.devices(state, scope, asked.getall("device"))
    else:
        words = scopes.whole_model(scope, asked["model"]) if "model" in asked else CLOSED
    return ScopeRefusal(scopes.refusal(scope, words), Code.OUTSIDE_SCOPE) if words else ScopeRefusal("", "")


async def _model(request: web.Request, _: State, scope: Scope) -> str:
    return scopes.whole_model(scope, request.match_info["model"])


async def _rollout(request: web.Request, state: State, scope: Scope) -> str:
    return scopes.rollout(state, scope, request.match_info["rollout"])


async def _started(request: web.Request, state: State, scope: Scope) -> str:
    wanted = decode(await request.read(), RolloutRequest)
    return scopes.selection(scope, wanted.model, filled(state, wanted).selector)


async def _template(request: web.Request, state: State, scope: Scope) -> str:
    selector = decode(await request.read(), TemplateRequest).selector if request.method == "PUT" else None
    return scopes.template(state, scope, request.match_info["template"], selector)


async def _deployed(request: web.Request, state: State, scope: Scope) -> str:
    selector = decode(await request.read(), DeploymentRequest).selector if request.method == "PUT" else None
    return scopes.deployment(state, scope, request.match_info["model"], selector)


async def _device(request: web.Request, state: State, scope: Scope) -> str:
    return scopes.devices(state, scope, [request.match_info["device"]])


async def _labelled(request: web.Request, state: State, scope: Scope) -> str:
    wanted = decode(await request.read(), LabelsOfDevicesRequest, max_bytes=MAX_LABELS_BYTES)
    return scopes.labels_of_devices(state, scope, wanted.devices)


async def _selected(request: web.Request, state: State, scope: Scope) -> str:
    wanted = decode(await request.read(), DevicesRequest, max_bytes=MAX_DEVICES_BYTES)
    found = select(state.world.durable.twins.values(), wanted.selector) if wanted.selector else []
    return scopes.devices(state, scope, [*wanted.devices, *found])


def _named(kind: type[QuarantinedRequest] | type[AdoptRequest] | type[TuneRequest]) -> Check:
    async def check(request: web.Request, state: State, scope: Scope) -> str:
        wanted = decode(await request.read(), kind, max_bytes=MAX_DEVICES_BYTES)
        return scopes.devices(state, scope, wanted.devices)

    return check


def _pinned(kind: type[UnpinRequest]) -> Check:
    async def check(request: web.Request, state: State, scope: Scope) -> str:
        wanted = decode(await request.read(), kind, max_bytes=MAX_DEVICES_BYTES)
        return scopes.model_on_devices(state, scope, wanted.model, wanted.devices)

    return check


async def _attempt(request: web.Request, state: State, scope: Scope) -> str:
    return scopes.whole_model(scope, retraining.find(state, request.match_info["retraining"]).model)


async def _run(request: web.Request, _: State, scope: Scope) -> str:
    """A run reaches the models that were pushed from it; one that pushed none concerns all."""
    pushed = decode(await request.read(), SentRun, max_bytes=MAX_SENT_BYTES).record.pushed
    return next(
        (words for each in pushed if (words := scopes.whole_model(scope, each.model))), "" if pushed else CLOSED
    )


async def _claimed(request: web.Request, _: State, scope: Scope) -> str:
    models = decode(await request.read(), ClaimRequest).models
    return next((words for each in models if (words := scopes.whole_model(scope, each))), "")


_OF = "/v1/models/{model}"
_VERSION = f"{_OF}/versions/{{release}}"
_ROLLOUT, _DEVICE, _RETRAINING = "/v1/rollouts/{rollout}", "/v1/devices/{device}", "/v1/retraining/{retraining}"
REACHES: dict[tuple[str, str], Check] = {
    ("POST", "/v1/rollouts"): _started,
    **{("POST", f"{_ROLLOUT}/{verb}"): _rollout for verb in ("pause", "resume", "promote", "abort", "rollback")},
    **{("POST", f"{_ROLLOUT}/{verb}"): _rollout for verb in ("approve", "retry", "judge")},
    **{("PUT", f"{_ROLLOUT}/discussion/{what}"): _rollout for what in ("note", "ticket")},
    DRY_RUN: _started,
    **{(method, "/v1/rollout-templates/{template}"): _template for method in ("PUT", "DELETE")},
    ("PUT", f"{_OF}/deployment"): _deployed,
    ("DELETE", f"{_OF}/deployment"): _deployed,
    ("POST", f"{_OF}/versions"): _model,
    ("POST", f"{_OF}/try"): _model,
    ("POST", f"{_OF}/labels"): _model,
    ("POST", f"{_OF}/clean"): _model,
    ("PUT", f"{_OF}/gates"): _model,
    ("PUT", f"{_OF}/aliases/{{alias}}"): _model,
    ("DELETE", f"{_OF}/aliases/{{alias}}"): _model,
    **{("PUT", f"{_OF}/discussion/{what}"): _model for what in ("note", "ticket")},
    **{("POST", f"{_VERSION}/{verb}"): _model for verb in ("withdraw", "reinstate", "waive", "comments")},
    **{("PUT", f"{_VERSION}/{what}"): _model for what in ("tags", "note")},
    ("PUT", f"{_OF}/retraining"): _model,
    ("DELETE", f"{_OF}/retraining"): _model,
    ("POST", f"{_OF}/retraining/propose"): _model,
    **{("POST", f"{_RETRAINING}/{verb}"): _attempt for verb in ("approve", "decline", "heard", "failed")},
    ("POST", "/v1/retraining/claim"): _claimed,
    ("PUT", "/v1/runs/{run}"): _run,
    ("POST", "/v1/devices/label"): _labelled,
    ("POST", "/v1/devices/unquarantine"): _named(QuarantinedRequest),
    ("POST", "/v1/devices/adopt"): _named(AdoptRequest),
    ("POST", "/v1/devices/tune"): _named(TuneRequest),
    **{("POST", f"/v1/devices/pin{end}"): _pinned(PinRequest) for end in ("", "/dry-run")},
    **{("POST", f"/v1/devices/unpin{end}"): _pinned(UnpinRequest) for end in ("", "/dry-run")},
    ("POST", "/v1/devices/retire"): _selected,
    ("POST", "/v1/devices/replace"): _selected,
    ("POST", f"{_DEVICE}/claim"): _device,
    ("POST", f"{_DEVICE}/revoke"): _device,
    ("PUT", f"{_DEVICE}/note"): _device,
    ("GET", f"{_DEVICE}/logs"): _device,
    ("GET", f"{_DEVICE}/doctor"): _device,
}
"""What each change reaches. A route that is not listed here is refused for every token with a scope."""

SCOPE_ROUTES = (
    Route("view", "GET", "/v1/me/refusal", show_refusal, "Whether a token's scope allows it", ScopeRefusal),
)
