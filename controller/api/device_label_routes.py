"""The routes of what people write about devices: labels, notes, saved selectors; and of unquarantining many devices."""

from typing import Annotated

import msgspec
from aiohttp import web

from contract.wire import Message, decode
from controller.api import views
from controller.api.auth import actor_of
from controller.api.device_life_routes import MAX_DEVICES_BYTES, Names
from controller.api.route import Route
from controller.api.state_key import STATE
from controller.verbs import device_labels, device_lives, devices, selectors
from controller.verbs.device_lives import MAX_DEVICES, DeviceAnswer
from controller.verbs.selectors import Selector
from controller.written import Written

MAX_LABELS_BYTES = 512 * MAX_DEVICES


class LabelsOfDevicesRequest(Message, frozen=True):
    """Labels to give by device; null removes one."""

    devices: Annotated[dict[str, dict[str, str | None]], msgspec.Meta(max_length=MAX_DEVICES)]


class NoteRequest(Message, frozen=True):
    """A note; empty: none."""

    text: str


class SelectorRequest(Message, frozen=True):
    """The labels that a device must have for a selector, all of them."""

    labels: dict[str, str]


class QuarantinedRequest(Message, frozen=True):
    """Devices whose quarantines are to end."""

    devices: Names


class NoteView(Message, frozen=True):
    """The note of a device; None if there is none."""

    device: str
    note: Written | None


async def label_devices(request: web.Request) -> list[DeviceAnswer]:
    """Gives labels to devices, which win over the devices' own of the same key, or removes given ones."""
    asked = decode(await request.read(), LabelsOfDevicesRequest, max_bytes=MAX_LABELS_BYTES)
    return device_labels.label(request.app[STATE], asked.devices, actor=actor_of(request))


async def note_device(request: web.Request) -> NoteView:
    """Replaces the note of a device; an empty text removes it."""
    asked, device = decode(await request.read(), NoteRequest), request.match_info["device"]
    twin = device_labels.write_note(request.app[STATE], device, asked.text, actor=actor_of(request))
    return NoteView(device=device, note=twin.note)


async def unquarantine_devices(request: web.Request) -> views.Lifted:
    """Lifts all quarantines of many devices."""
    state = request.app[STATE]
    asked = decode(await request.read(), QuarantinedRequest, max_bytes=MAX_DEVICES_BYTES)
    names = device_lives.chosen(state, asked.devices, {})
    lifted = devices.unquarantine(state, *names, actor=actor_of(request))
    state.poke()
    return views.Lifted(lifted)


async def list_selectors(request: web.Request) -> list[Selector]:
    """Returns all saved selectors, sorted by name."""
    return selectors.every(request.app[STATE].store)


async def show_selector(request: web.Request) -> Selector:
    """Returns one saved selector."""
    return selectors.saved(request.app[STATE].store, request.match_info["selector"])


async def save_selector(request: web.Request) -> Selector:
    """Saves labels under a name."""
    asked, name = decode(await request.read(), SelectorRequest), request.match_info["selector"]
    return selectors.save(request.app[STATE], name, asked.labels, actor=actor_of(request))


async def delete_selector(request: web.Request) -> Selector:
    """Deletes a saved selector; returns what it was."""
    return selectors.delete(request.app[STATE], request.match_info["selector"], actor=actor_of(request))


_SELECTOR = "/v1/selectors/{selector}"
DEVICE_LABEL_ROUTES = (
    Route(
        "device", "POST", "/v1/devices/label", label_devices, "Give devices labels", list[DeviceAnswer],
        LabelsOfDevicesRequest, max_body_bytes=MAX_LABELS_BYTES,
    ),
    Route(
        "rollout", "POST", "/v1/devices/unquarantine", unquarantine_devices, "Lift quarantines of many", views.Lifted,
        QuarantinedRequest, max_body_bytes=MAX_DEVICES_BYTES,
    ),
    Route("device", "PUT", "/v1/devices/{device}/note", note_device, "Replace its note", NoteView, NoteRequest),
    Route("view", "GET", "/v1/selectors", list_selectors, "Saved selectors", list[Selector]),
    Route("view", "GET", _SELECTOR, show_selector, "One saved selector", Selector),
    Route("device", "PUT", _SELECTOR, save_selector, "Save a selector", Selector, SelectorRequest),
    Route("device", "DELETE", _SELECTOR, delete_selector, "End a selector", Selector),
)  # fmt: skip
