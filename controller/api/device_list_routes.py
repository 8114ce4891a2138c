"""The routes of viewing devices: a page of those that pass filters, and one of them with its history."""

import time
from collections.abc import Sequence

import msgspec
from aiohttp import web
from multidict import MultiDict

from contract.errors import BadInput, Code
from controller.api import views
from controller.api.route import Route
from controller.api.state_key import STATE
from controller.api.version_routes import number_of
from controller.fleet import device_query
from controller.fleet.device_query import DeviceQuery
from controller.fleet.twin import Twin
from controller.fleet.unmatched import unknown_device, unmatched
from controller.reconcile.quarantined import quarantined_devices, quarantined_for
from controller.reconcile.roster import fresh_roster, moment
from controller.state import State
from controller.verbs.selectors import saved

_ASKED = frozenset(
    {
        "q",
        "presence",
        "health",
        "label",
        "model",
        "version",
        "code",
        "quarantined",
        "pinned",
        "selector",
        "sort",
        "limit",
        "offset",
    }
)


async def list_devices(request: web.Request) -> views.DevicePage:
    """Returns devices that pass every filter, `limit` of them (50; at most 1,000) from `offset` on, in the order of
    `sort`.

    `q` is looked for in names, labels and codes. `presence` and `health` are words, several behind commas or
    repeated; `label` is key=value, repeated for several; `selector` is a saved one; `model` is desired or reported;
    `version` answers: a number, or with `model` also an alias or a semantic version; `code` is one of a fault, of a
    failed update or of a quarantine; `quarantined=true` finds devices with a quarantined version, `pinned=true` those
    on which a pin holds a model. `sort` is device, presence, health, seen, version or label.KEY, with a minus before
    it the other way round.
    BadInput `request_invalid`.
    """
    return device_page(request.app[STATE], list(request.query.items()), time.time())


def device_page(state: State, asked: Sequence[tuple[str, str]], now: float) -> views.DevicePage:
    """Returns the answer to a query, whose parameters are (name, text). BadInput `request_invalid`."""
    world, query = state.world, _query(state, MultiDict(asked))
    roster = fresh_roster(world, now)
    found = roster.find(query, moment(world, now))
    shown = (world.durable.twins[device] for device in found.devices)
    return views.DevicePage(
        total=found.total,
        devices=tuple(views.DeviceView(**views.device_fields(twin, world, now)) for twin in shown),
        unmatched=() if found.total else unmatched(query, roster.entries(), state.registry.models()),
    )


async def show_device(request: web.Request) -> views.DeviceDetail:
    """Returns one device with its history."""
    state = request.app[STATE]
    name = request.match_info["device"]
    twin = state.world.durable.twins.get(name)
    if twin is None and name in state.world.durable.retired:
        twin = Twin(name)
    if twin is None:
        raise unknown_device(name, state.world.durable.twins)
    history = tuple(
        views.HistoryEntry(at=at, report=msgspec.json.decode(body)) for at, body in state.journal.history_of(name)
    )
    return views.DeviceDetail(history=history, **views.device_fields(twin, state.world, time.time()))


def _query(state: State, asked: MultiDict[str]) -> DeviceQuery:
    if unknown := sorted(set(asked) - _ASKED):
        raise BadInput(Code.REQUEST_INVALID, f"{unknown[0][:40]!r}: expected one of {', '.join(sorted(_ASKED))}")
    name = asked.get("selector", "")
    named = saved(state.store, name).labels if name else {}
    model, version = asked.get("model", ""), asked.get("version", "")
    durable, code = state.world.durable, asked.get("code", "")
    order, descending = device_query.check_order(asked.get("sort", ""))
    limit, offset = device_query.check_page(
        number_of(asked.get("limit", str(device_query.DEFAULT_PAGE))), number_of(asked.get("offset", "0"))
    )
    return DeviceQuery(
        text=device_query.check_text(asked.get("q", "")),
        presence=device_query.check_presence(asked.getall("presence", [])),
        health=device_query.check_health(asked.getall("health", [])),
        labels=named | device_query.check_labels(asked.getall("label", [])),
        model=model,
        release=_release(state, model, version),
        code=code,
        coded=quarantined_for(durable, code) if code else frozenset(),
        among=quarantined_devices(durable) if _flag(asked, "quarantined") else None,
        pinned=_flag(asked, "pinned"),
        order=order,
        descending=descending,
        limit=limit,
        offset=offset,
    )


def _flag(asked: MultiDict[str], name: str) -> bool:
    """Whether a filter is asked for. BadInput `request_invalid` for what is neither true nor false."""
    word = asked.get(name, "false")
    if word not in ("true", "false"):
        raise BadInput(Code.REQUEST_INVALID, f"{name} = {word[:20]!r}: expected true or false")
    return word == "true"


def _release(state: State, model: str, version: str) -> int | None:
    """Returns the number of a version; with a model also an alias or a semantic version. BadInput `unknown_version`,
    `request_invalid`.
    """
    if not version:
        return None
    number = version.removeprefix("v")
    return state.aliases.resolve(model, version) if model and not number.isdigit() else number_of(number)


DEVICE_LIST_ROUTES = (
    Route("view", "GET", "/v1/devices", list_devices, "A page of the fleet", views.DevicePage),
    Route("view", "GET", "/v1/devices/{device}", show_device, "One device and its history", views.DeviceDetail),
)
