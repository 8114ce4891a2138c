"""The calls of the client about devices: find, show, enrol, retire.

Decides nothing. Refuses to know HTTP (`transport`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlencode

from contract.errors import BadInput, Code
from edgeward.answers.answer import Sentences
from edgeward.answers.claims import Claim, DeviceAnswer
from edgeward.answers.devices import (
    Device,
    DeviceDetail,
    DeviceLines,
    DevicePage,
    Enrolment,
    NoteOfDevice,
    Retired,
    Selector,
)
from edgeward.answers.fleet import Fleet
from edgeward.answers.table import Table
from edgeward.answers.telemetry import Vitals
from edgeward.answers.written import Written
from edgeward.pin_calls import PinCalls
from edgeward.transport import Transport

DEVICES_PAGE = 1_000
"""Devices per call: the most that the controller answers."""
MAX_ASKED = 50
"""Devices of one question about a scope: an address has room for them."""
FIRST_DEVICES = 100
"""Devices of the first call if all of them are requested: a person waits for the first screen."""


@dataclass(frozen=True, slots=True)
class DeviceFilters:
    """Filters of devices, and one order; an empty filter passes every device."""

    text: str = ""
    """Searched in names, labels and codes."""
    presence: Sequence[str] = ()
    health: Sequence[str] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    selector: str = ""
    """The name of a saved selector."""
    model: str = ""
    """Desired or reported."""
    version: str = ""
    """The version that answers: a number, or with `model` also an alias or a semantic version."""
    code: str = ""
    """The code of a fault, of an update that failed, or of a quarantine."""
    quarantined: bool = False
    """Only devices with a quarantined version."""
    pinned: bool = False
    """Only devices on which a pin holds a model; with `model` that model."""
    sort: str = ""
    """device, presence, health, seen, version or label.KEY; a minus before it reverses the order."""

    def asked(self) -> list[tuple[str, str]]:
        """Returns the filters in the form of the API."""
        single = {
            "q": self.text,
            "selector": self.selector,
            "model": self.model,
            "version": self.version,
            "code": self.code,
            "quarantined": "true" if self.quarantined else "",
            "pinned": "true" if self.pinned else "",
            "sort": self.sort,
        }
        found = [(name, value) for name, value in single.items() if value]
        found += [("presence", word) for word in self.presence] + [("health", word) for word in self.health]
        return found + [("label", f"{key}={value}") for key, value in sorted(self.labels.items())]


class DeviceCalls(PinCalls):
    """Calls about devices."""

    _transport: Transport

    def devices(
        self,
        *,
        text: str = "",
        presence: Sequence[str] = (),
        health: Sequence[str] = (),
        labels: Mapping[str, str] | None = None,
        selector: str = "",
        model: str = "",
        version: str | int = "",
        code: str = "",
        quarantined: bool = False,
        pinned: bool = False,
        sort: str = "",
        limit: int | None = None,
    ) -> Table[Device]:
        """Returns the devices that pass every filter, at most `limit`; printed and in `to_frame()` a row per device and
        model.

        `text` is looked for in names, labels and codes; `version` answers; `code` is of a fault, a failed update or a
        quarantine; `pinned` devices have a pin that holds a model.
        `sort` is device, presence, health, seen, version or label.KEY, with a minus before it the other way round.
        """
        filters = DeviceFilters(
            text=text,
            presence=tuple(presence),
            health=tuple(health),
            labels=labels or {},
            selector=selector,
            model=model,
            version=str(version),
            code=code,
            quarantined=quarantined,
            pinned=pinned,
            sort=sort,
        )
        return Table(device for page in self.device_pages(filters, limit) for device in page.devices)

    def device_pages(self, filters: DeviceFilters, limit: int | None) -> Iterator[DevicePage]:
        """Yields pages of the devices that pass `filters` until there are `limit`, or all of them."""
        asked = filters.asked()
        got = 0
        while limit is None or got < limit:
            most = DEVICES_PAGE if got else FIRST_DEVICES
            size = most if limit is None else min(DEVICES_PAGE, limit - got)
            query = urlencode([*asked, ("limit", size), ("offset", got)])
            page = DevicePage.read(self._transport.get(f"/v1/devices?{query}"))
            yield page
            got += len(page.devices)
            if len(page.devices) < size or got >= page.total:
                return

    def fleet(self) -> Fleet:
        """Returns the fleet in counts: presence, health, versions, alerts, and the newest rollouts."""
        return Fleet.read(self._transport.get("/v1/fleet"))

    def device(self, name: str) -> DeviceDetail:
        """Returns one device with its history."""
        return DeviceDetail.read(self._transport.get(f"/v1/devices/{name}"))

    def vitals(self, device: str, hours: float = 24) -> Table[Vitals]:
        """Returns what a device reported about itself in the newest hours, oldest first: by five minutes, older by the
        hour.
        """
        return Table(map(Vitals.read, self._transport.get(f"/v1/devices/{device}/vitals?hours={hours:g}")))

    def why(self, device: str) -> Sentences:
        """Explains why a device runs what it runs, in order."""
        return Sentences.read(self._transport.get(f"/v1/devices/{device}/why"))

    def count_devices(self, labels: Mapping[str, str]) -> int:
        """Returns how many devices have all of these labels."""
        return next(self.device_pages(DeviceFilters(labels=labels), 1)).total

    def tune(
        self,
        devices: Sequence[str],
        *,
        heartbeat_s: int | None = None,
        telemetry_s: int | None = None,
        paused_sensors: Sequence[str] = (),
        capture: Mapping[str, Mapping[str, str]] | None = None,
        max_connections: int | None = None,
        max_body_bytes: int | None = None,
    ) -> Table[DeviceAnswer]:
        """Sends devices a configuration to try, within what their own files allow; returns the result for each.

        For omitted settings the device's own file is used again. `capture` is by model: `rate` and `below_confidence`,
        as decimal texts. A device drops a configuration that breaks it: see `config_said` of `device()`.
        """
        config = {
            "version": 1,
            "heartbeat_s": heartbeat_s,
            "telemetry_s": telemetry_s,
            "paused_sensors": list(paused_sensors),
            "capture": {model: dict(rates) for model, rates in (capture or {}).items()},
            "max_connections": max_connections,
            "max_body_bytes": max_body_bytes,
        }
        answers = self._transport.post("/v1/devices/tune", {"devices": list(devices), "config": config})
        return Table(map(DeviceAnswer.read, answers))

    def logs(self, device: str, lines: int = 100) -> DeviceLines:
        """Returns the newest log lines of a device, requested now. WorldError `device_unreachable` if it does not
        answer.

        Every question is in the audit.
        """
        return DeviceLines.read(self._transport.get(f"/v1/devices/{device}/logs?lines={lines}"))

    def doctor(self, device: str) -> DeviceLines:
        """Returns what a device's doctor finds now, a line for each check; as `logs`."""
        return DeviceLines.read(self._transport.get(f"/v1/devices/{device}/doctor"))

    def unquarantine(self, *devices: str) -> int:
        """Allows versions that have failed on devices again; returns their number on all devices together."""
        return int(self._transport.post("/v1/devices/unquarantine", {"devices": devices})["versions"])

    def label_devices(self, changes: Mapping[str, Mapping[str, str | None]]) -> Table[DeviceAnswer]:
        """Gives labels to devices, which replace their own of the same key; None removes one. Returns the result for
        each device.
        """
        answers = self._transport.post("/v1/devices/label", {"devices": {name: dict(c) for name, c in changes.items()}})
        return Table(map(DeviceAnswer.read, answers))

    def write_device_note(self, device: str, text: str) -> Written | None:
        """Replaces the note of a device; an empty text removes it."""
        return NoteOfDevice.read(self._transport.put(f"/v1/devices/{device}/note", {"text": text})).note

    def selectors(self) -> Table[Selector]:
        """All saved selectors, sorted by name."""
        return Table(map(Selector.read, self._transport.get("/v1/selectors")))

    def selector(self, name: str) -> Selector:
        """Returns a saved selector. BadInput `request_invalid` names those that exist."""
        return Selector.read(self._transport.get(f"/v1/selectors/{name}"))

    def save_selector(self, name: str, labels: Mapping[str, str]) -> Selector:
        """Saves labels under a name; rollouts that have begun keep theirs."""
        return Selector.read(self._transport.put(f"/v1/selectors/{name}", {"labels": dict(labels)}))

    def delete_selector(self, name: str) -> Selector:
        """Deletes a saved selector; returns what it was."""
        return Selector.read(self._transport.delete(f"/v1/selectors/{name}"))

    def enrolment(self) -> Enrolment:
        """Broker address and root of trust for a new device."""
        return Enrolment.read(self._transport.get("/v1/enrolment"))

    def claim(self, device: str) -> Claim:
        """Returns the data with which a device can enrol once, within an hour. Treat it as a password."""
        return Claim.read(self._transport.post(f"/v1/devices/{device}/claim"))

    def revoke(self, device: str) -> int:
        """Revokes a device's certificates; returns their number."""
        return int(self._transport.post(f"/v1/devices/{device}/revoke")["certificates"])

    def refuse_as(self, deed: str, devices: Sequence[str]) -> None:
        """Checks the permission for a `deed` before a person must confirm it: BadInput `forbidden`, `outside_scope`.

        `deed` is a call of the API, such as `POST /v1/devices/retire`.
        """
        asked = [("deed", deed), *(("device", name) for name in devices[:MAX_ASKED])]
        found = self._transport.get(f"/v1/me/refusal?{urlencode(asked)}")
        if found["words"]:
            raise BadInput(Code(found["code"]), found["words"])

    def retire(self, devices: Sequence[str] = (), *, selector: dict[str, str] | None = None) -> Table[DeviceAnswer]:
        """Takes devices, by name or labels, out of the fleet; returns the result for each.

        Certificates and sessions end, rollouts do not count them, their history stays.
        """
        return self._devices("retire", devices, selector)

    def replace(self, devices: Sequence[str] = (), *, selector: dict[str, str] | None = None) -> Table[DeviceAnswer]:
        """Prepares new hardware under known names: old keys end, labels and desired versions stay; returns a claim for
        each.
        """
        return self._devices("replace", devices, selector)

    def adopt(self, devices: Sequence[str]) -> Table[DeviceAnswer]:
        """Adopts devices from another controller, or after `retire`; returns a claim for each, for `edgeward-agent
        adopt`.

        They still serve what they served.
        """
        answers = self._transport.post("/v1/devices/adopt", {"devices": list(devices)})
        return Table(map(DeviceAnswer.read, answers))

    def retired(self) -> Table[Retired]:
        """Devices that were taken out of the fleet."""
        return Table(map(Retired.read, self._transport.get("/v1/retired")))

    def _devices(self, verb: str, devices: Sequence[str], selector: dict[str, str] | None) -> Table[DeviceAnswer]:
        body = {"devices": list(devices), "selector": selector or {}}
        return Table(map(DeviceAnswer.read, self._transport.post(f"/v1/devices/{verb}", body)))
