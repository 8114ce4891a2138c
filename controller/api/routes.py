"""The API's routes as a table: method, path, function, request, answer. The OpenAPI document is made from it."""

import time
from collections import Counter
from typing import Annotated, Literal

import msgspec
from aiohttp import web

from contract.errors import BadInput, Code
from contract.protocol import MAX_DETAIL_CHARS
from contract.wire import Message, decode, encode
from controller.api import views
from controller.api.audit_routes import AUDIT_ROUTES
from controller.api.auth import actor_of
from controller.api.blob_routes import BLOB_ROUTES
from controller.api.body import PUSHES, while_connected
from controller.api.certificate_routes import CERTIFICATE_ROUTES
from controller.api.device_life_routes import DEVICE_LIFE_ROUTES
from controller.api.device_routes import DEVICE_ROUTES
from controller.api.event_routes import EVENT_ROUTES
from controller.api.fleet_view import FleetView, fleet_view
from controller.api.operator_routes import OPERATOR_ROUTES
from controller.api.retraining_routes import RETRAINING_ROUTES
from controller.api.rollout_routes import ROLLOUT_ROUTES
from controller.api.route import Route
from controller.api.state_key import STATE
from controller.api.stick_routes import STICK_ROUTES
from controller.api.telemetry_routes import TELEMETRY_ROUTES
from controller.api.trust_routes import TRUST_ROUTES
from controller.api.version_routes import VERSION_ROUTES, number_of
from controller.api.version_views import PushAnswer, detail_fields
from controller.convert.request import VariantName
from controller.fleet.twin import Twin
from controller.health import findings_of, is_failing, nearest_expiry
from controller.registry.version import Told
from controller.verbs.gates import Brought, OwnVerdict
from controller.verbs.health import facts_of
from controller.verbs.push import Retrained, push


class PushRequest(Message, frozen=True):
    """The JSON part of a push. The other multipart parts are `model` (bytes), `sample` and, if there are held-out rows,
    `held_out` (npz).
    """

    kind: Literal["skops", "onnx"]
    tags: dict[str, str] = {}
    variants: tuple[VariantName, ...] = ()
    """The smaller forms to make too, for devices on which the full form does not fit."""
    told: Told = Told()
    """Where the model comes from: data, code, environment, parameters, metrics."""
    own_gates: tuple[OwnVerdict, ...] = ()
    """Verdicts of gates of the user's own, which ran where the model was pushed."""
    waive_rows: Annotated[str, msgspec.Meta(max_length=MAX_DETAIL_CHARS)] = ""
    """The reason why a sample of few distinct rows is all there is; kept with the version."""
    retrained: Retrained | None = None
    """The attempt to retrain that made it: then it must beat the champion."""


async def health(request: web.Request) -> web.Response:
    """Tells monitors whether the controller works: 200, or 503 where it does not; with the codes of findings.

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
    """What `edgeward device config` writes. The broker's address may hold a password: not for viewers."""
    state = request.app[STATE]
    url = state.broker.url if state.broker else ""
    return views.Enrolment(broker_url=url, root=state.trust_metadata.root())


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
    state = request.app[STATE]
    async with request.app[PUSHES].received(request) as came:
        wanted = decode(came.request, PushRequest)
        pushed = await while_connected(
            request,
            push(
                state,
                request.match_info["model"],
                wanted.kind,
                came.model,
                came.sample,
                actor=actor_of(request),
                tags=wanted.tags,
                variants=wanted.variants,
                waive_rows=wanted.waive_rows,
                told=wanted.told,
                brought=Brought(came.held_out, wanted.own_gates),
                retrained=wanted.retrained,
            ),
        )
    return PushAnswer(new=pushed.new, **detail_fields(state, pushed.version))


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


async def list_devices(request: web.Request) -> list[views.DeviceView]:
    """Returns all devices, sorted by name."""
    world = request.app[STATE].world
    now = time.time()
    return [
        views.DeviceView(**views.device_fields(twin, world, now)) for _, twin in sorted(world.durable.twins.items())
    ]


async def show_fleet(request: web.Request) -> FleetView:
    """Returns a summary of the fleet for the page of the controller."""
    state = request.app[STATE]
    return fleet_view(state.world, time.time(), findings_of(facts_of(state)))


async def show_device(request: web.Request) -> views.DeviceDetail:
    """Returns one device with its history."""
    state = request.app[STATE]
    name = request.match_info["device"]
    twin = state.world.durable.twins.get(name)
    if twin is None and name in state.world.durable.retired:
        twin = Twin(name)
    if twin is None:
        raise BadInput(Code.UNKNOWN_DEVICE, f"no device {name[:64]!r} has reported; `edgeward device list` shows all")
    history = tuple(
        views.HistoryEntry(at=at, report=msgspec.json.decode(body)) for at, body in state.journal.history_of(name)
    )
    return views.DeviceDetail(history=history, **views.device_fields(twin, state.world, time.time()))


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
    Route("view", "GET", "/v1/devices", list_devices, "The fleet", list[views.DeviceView]),
    Route("view", "GET", "/v1/devices/{device}", show_device, "One device and its history", views.DeviceDetail),
    *BLOB_ROUTES,
    *STICK_ROUTES,
    *ROLLOUT_ROUTES,
    *RETRAINING_ROUTES,
    *TELEMETRY_ROUTES,
    *EVENT_ROUTES,
    *TRUST_ROUTES,
    *CERTIFICATE_ROUTES,
    *DEVICE_ROUTES,
    *DEVICE_LIFE_ROUTES,
    *OPERATOR_ROUTES,
    *AUDIT_ROUTES,
    *VERSION_ROUTES,
)  # fmt: skip
