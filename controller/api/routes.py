"""The API's routes as a table: method, path, function, request, answer. The OpenAPI document is made from it."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Annotated

import msgspec
from aiohttp import web

from contract.protocol import MAX_DETAIL_CHARS
from contract.recurrent import StateAsked
from contract.wire import Message, decode, encode
from controller.api import views
from controller.api.alert_routes import ALERT_ROUTES
from controller.api.audit_routes import AUDIT_ROUTES
from controller.api.auth import actor_of
from controller.api.blob_routes import BLOB_ROUTES
from controller.api.body import PUSHES, while_connected
from controller.api.certificate_routes import CERTIFICATE_ROUTES
from controller.api.data_routes import DATA_ROUTES
from controller.api.device_label_routes import DEVICE_LABEL_ROUTES
from controller.api.device_life_routes import DEVICE_LIFE_ROUTES
from controller.api.device_list_routes import DEVICE_LIST_ROUTES
from controller.api.device_routes import DEVICE_ROUTES
from controller.api.discussion_routes import DISCUSSION_ROUTES
from controller.api.drift_routes import DRIFT_ROUTES
from controller.api.event_routes import EVENT_ROUTES
from controller.api.fleet_view import FleetView, fleet_view_steps
from controller.api.inquiry_routes import INQUIRY_ROUTES
from controller.api.label_routes import LABEL_ROUTES
from controller.api.model_looks import MODEL_LOOKS
from controller.api.operator_routes import OPERATOR_ROUTES
from controller.api.page_routes import PAGE_ROUTES
from controller.api.pin_routes import PIN_ROUTES
from controller.api.pushing_routes import PUSHING_ROUTES
from controller.api.retraining_routes import RETRAINING_ROUTES
from controller.api.rollout_routes import ROLLOUT_ROUTES
from controller.api.route import Route
from controller.api.run_routes import RUN_ROUTES
from controller.api.scopes import SCOPE_ROUTES
from controller.api.session_routes import SESSION_ROUTES
from controller.api.sign_in_routes import SIGN_IN_ROUTES
from controller.api.state_key import STATE
from controller.api.steps import in_steps
from controller.api.stick_routes import STICK_ROUTES
from controller.api.telemetry_routes import TELEMETRY_ROUTES
from controller.api.template_routes import TEMPLATE_ROUTES
from controller.api.trust_routes import TRUST_ROUTES
from controller.api.try_routes import TRY_ROUTES
from controller.api.tuning_routes import TUNING_ROUTES
from controller.api.version_routes import VERSION_ROUTES, number_of
from controller.api.version_views import PushAnswer, detail_fields
from controller.api.watcher_routes import WATCHER_ROUTES
from controller.convert.request import ModelKind, VariantName
from controller.health import findings_of, is_failing, lasting_findings, nearest_expiry
from controller.registry.version import Told
from controller.retraining.model import Retrained
from controller.verbs.gates import Brought, OwnVerdict
from controller.verbs.health import facts_of
from controller.verbs.push import begun, push


class PushRequest(Message, frozen=True):
    """The JSON part of a push. The other multipart parts are `model` (bytes), `sample` and, if there are held-out rows,
    `held_out` (npz).
    """

    kind: ModelKind
    tags: dict[str, str] = {}
    variants: tuple[VariantName, ...] = ()
    """The smaller forms to make too, for devices on which the full form does not fit."""
    told: Told = Told()
    """The origin of the model: data, code, environment, parameters, metrics."""
    own_gates: tuple[OwnVerdict, ...] = ()
    """Verdicts of gates of the user's own, which ran where the model was pushed."""
    waive_rows: Annotated[str, msgspec.Meta(max_length=MAX_DETAIL_CHARS)] = ""
    """The reason why a sample of few distinct rows is sent; it is kept with the version."""
    recurrent: StateAsked | None = None
    """The state that devices keep between requests."""
    retrained: Retrained | None = None
    """The attempt to retrain that made it: then it must beat the champion."""


async def health(request: web.Request) -> web.Response:
    """Tells monitors whether the controller works: 200, or else 503; with the codes of findings.

    Details of the findings need a token: `GET /v1/fleet`.
    """
    state = request.app[STATE]
    facts = facts_of(state)
    found = findings_of(facts)
    body = views.Health(
        status="failing" if is_failing(found) else "ok",
        findings=tuple(each.code for each in found),
        pass_age_s=round(facts.pass_age_s, 1),
        broker=facts.broker,
        broker_connected=facts.broker_connected,
        free_bytes=facts.free_bytes,
        expiry_days=round(nearest_expiry(facts)[1], 1),
        devices=len(state.world.durable.twins),
        messages_dropped=state.inbox.refused,
        messages_not_authentic=state.inbox.counts["unsigned"],
        retained_put_right=state.foreign.count,
    )
    return web.json_response(body=encode(body), status=503 if is_failing(found) else 200)


async def enrolment(request: web.Request) -> views.Enrolment:
    """Returns what `edgeward device config` writes. The broker's address may contain a password: not for viewers."""
    state = request.app[STATE]
    broker = state.broker
    return views.Enrolment(
        broker_url=broker.url if broker is not None else "",
        root=state.trust_metadata.root(),
        needs_claim=broker is not None and broker.files is not None,
    )


async def list_models(request: web.Request) -> list[views.ModelView]:
    """Returns every model with its versions and devices as numbers."""
    state = request.app[STATE]
    devices = Counter(name for twin in state.world.durable.twins.values() for name in twin.desired)
    return [
        views.ModelView(
            name=each.model,
            versions=each.versions,
            newest_release=each.newest_release,
            newest_passed=each.newest_passed,
            devices=devices[each.model],
        )
        for each in state.catalogue.counts()
    ]


async def push_version(request: web.Request) -> PushAnswer:
    """Converts a model, checks it by the gates and registers it as a version; ends with the caller's connection."""
    state, model, actor = request.app[STATE], request.match_info["model"], actor_of(request)
    with state.pushing.begin(begun(state, model, actor, request.content_length or 0)) as mine:
        async with request.app[PUSHES].received(request, mine.receive) as came:
            wanted = decode(came.request, PushRequest)
            pushed = await while_connected(
                request,
                push(
                    state,
                    model,
                    wanted.kind,
                    came.model,
                    came.sample,
                    actor=actor,
                    tags=wanted.tags,
                    variants=wanted.variants,
                    waive_rows=wanted.waive_rows,
                    told=wanted.told,
                    brought=Brought(came.held_out, wanted.own_gates),
                    recurrent=wanted.recurrent,
                    retrained=wanted.retrained,
                    under_way=mine,
                ),
            )
    return PushAnswer(
        new=pushed.new,
        tags_added=dict(pushed.tags_added),
        tags_replaced=dict(pushed.tags_replaced),
        mended=pushed.mended,
        not_taken=pushed.not_taken,
        **detail_fields(state, pushed.version),
    )


async def captured_rows(request: web.Request) -> list[views.CapturedView]:
    """Returns the captured inferences of a model, oldest first: at most `limit` of those with an id above `after`."""
    state = request.app[STATE]
    model = request.match_info["model"]
    state.registry.versions(model)
    after, limit = (number_of(request.query.get(key, preset)) for key, preset in (("after", "0"), ("limit", "1000")))
    return [
        views.CapturedView(id=number, device=device, row=row)
        for number, device, row in state.captures.rows_of(model, after, limit)
    ]


@dataclass
class KeptFleet:
    """The newest summary of the fleet, reused while it is new enough for its cost."""

    view: FleetView | None = None
    at: float = 0.0
    cost_s: float = 0.0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


FLEET = web.AppKey("fleet", KeptFleet)
FLEET_COST_RATIO = 5.0
"""A summary is reused for so many times the time that it took: 100 pages take a fifth of a core and not all of it."""


async def show_fleet(request: web.Request) -> FleetView:
    """Returns a summary of the fleet for the page of the controller."""
    state, kept = request.app[STATE], request.app[FLEET]
    async with kept.lock:
        now = time.monotonic()
        if kept.view is None or now - kept.at > FLEET_COST_RATIO * kept.cost_s:
            spent_s = time.thread_time()
            kept.view = await in_steps(fleet_view_steps(state.world, time.time(), lasting_findings(facts_of(state))))
            kept.at, kept.cost_s = now, time.thread_time() - spent_s
        return kept.view


ROUTES = (
    Route("nothing", "GET", "/v1/health", health, "Is the controller well?", views.Health),
    Route("device", "GET", "/v1/enrolment", enrolment, "What a new device needs to know", views.Enrolment),
    Route("view", "GET", "/v1/models", list_models, "All models", list[views.ModelView]),
    Route(
        "push", "POST", "/v1/models/{model}/versions", push_version, "Push a version", PushAnswer, PushRequest,
        multipart=True, max_body_bytes=0,
    ),
    Route(
        "view", "GET", "/v1/models/{model}/captured", captured_rows, "Inferences that devices kept",
        list[views.CapturedView],
    ),
    Route("view", "GET", "/v1/fleet", show_fleet, "The fleet on one page", FleetView),
    *PUSHING_ROUTES,
    *BLOB_ROUTES,
    *DATA_ROUTES,
    *RUN_ROUTES,
    *STICK_ROUTES,
    *ROLLOUT_ROUTES,
    *RETRAINING_ROUTES,
    *TELEMETRY_ROUTES,
    *DRIFT_ROUTES,
    *WATCHER_ROUTES,
    *LABEL_ROUTES,
    *MODEL_LOOKS,
    *DISCUSSION_ROUTES,
    *EVENT_ROUTES,
    *ALERT_ROUTES,
    *TRUST_ROUTES,
    *TRY_ROUTES,
    *TUNING_ROUTES,
    *CERTIFICATE_ROUTES,
    *DEVICE_ROUTES,
    *DEVICE_LIFE_ROUTES,
    *DEVICE_LABEL_ROUTES,
    *DEVICE_LIST_ROUTES,
    *INQUIRY_ROUTES,
    *PIN_ROUTES,
    *TEMPLATE_ROUTES,
    *OPERATOR_ROUTES,
    *SCOPE_ROUTES,
    *SESSION_ROUTES,
    *SIGN_IN_ROUTES,
    *PAGE_ROUTES,
    *AUDIT_ROUTES,
    *VERSION_ROUTES,
)  # fmt: skip
