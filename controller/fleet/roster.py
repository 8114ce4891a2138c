"""The fleet as an index: for each device the values of filters and orders, kept up to date one device at a time.

Decides which devices a query finds, in which order. What depends on the clock alone (presence, health) is computed for
each query. Refuses to know where twins are kept. At 100,000 devices a query costs tens of ms.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from contract.messages import ModelState
from controller.fleet.device_health import HEALTH_WORDS, Judged, judge, judge_told, reason_of
from controller.fleet.device_query import PRESENCE_WORDS, DeviceQuery
from controller.fleet.faults import faults_of
from controller.fleet.traffic import Traffic
from controller.fleet.twin import PresenceWord, Twin

_WORST = {word: place for place, word in enumerate(HEALTH_WORDS)}
_FARTHEST = {word: -place for place, word in enumerate(PRESENCE_WORDS)}
_LAST = "\U0010ffff"
"""A text that sorts after all others."""
_SAID = ("reported", "labels", "faults", "sensors", "sinks")


class Entry(NamedTuple):
    """One device as a query sees it."""

    twin: Twin
    traffic: Traffic | None
    told: Judged
    """Its health from its own reports, without its presence."""
    text: str
    """Name, labels and codes in lower case."""
    releases: tuple[tuple[str, int], ...]
    """(model, release) that answer, sorted."""
    models: frozenset[str]
    codes: frozenset[str]


class Found(NamedTuple):
    """The answer to a query."""

    total: int
    devices: list[str]
    """Names of the page."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What an answer depends on besides the devices: the time, and the alerts that fire now."""

    now: float
    silent_s: float
    alerts: Mapping[str, str] = field(default_factory=dict)
    """device -> the words of the worst alert about it"""


class Roster:
    """An entry for each device."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._names: list[str] | None = []
        """Sorted; None: devices were added or removed since they were sorted."""

    def __contains__(self, device: object) -> bool:
        return device in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, twin: Twin, traffic: Traffic | None, withdrawn: Mapping[tuple[str, int], str], now: float) -> None:
        """Replaces the entry of a device."""
        if twin.device not in self._entries:
            self._names = None
        known = self._entries.get(twin.device)
        if known is not None and traffic is known.traffic and _says_the_same(known.twin, twin):
            self._entries[twin.device] = known._replace(twin=twin)
        else:
            self._entries[twin.device] = entry_of(twin, traffic, withdrawn, now)

    def drop(self, device: str) -> None:
        """Removes a device."""
        if self._entries.pop(device, None) is not None:
            self._names = None

    def all_names(self) -> list[str]:
        """Returns the names of all devices, sorted."""
        return self._sorted()

    def entries(self) -> Collection[Entry]:
        """Returns every device."""
        return self._entries.values()

    def health(self, device: str, moment: Moment) -> Judged:
        """Returns the health of one device. KeyError for an unknown one."""
        return _health(self._entries[device], moment)

    def counts(self, moment: Moment) -> dict[str, int]:
        """Returns the number of devices by health; words without devices are left out."""
        counted = Counter(_health(entry, moment)[0] for entry in self._entries.values())
        return {word: counted[word] for word in HEALTH_WORDS if counted[word]}

    def find(self, query: DeviceQuery, moment: Moment) -> Found:
        """Returns the number of devices that pass a query, and the names of its page."""
        found, end = self._matching(query, moment), query.offset + query.limit
        if query.order == "device":
            page = found[::-1][query.offset : end] if query.descending else found[query.offset : end]
        else:
            least = heapq.nlargest if query.descending else heapq.nsmallest  # both keep the order of names among ties
            page = least(end, found, key=_key(query.order, moment))[query.offset :]
        return Found(len(found), [entry.twin.device for entry in page])

    def names(self, query: DeviceQuery, moment: Moment) -> list[str]:
        """Returns the names of all devices that pass the filters of a query, in the order of names."""
        return [entry.twin.device for entry in self._matching(query, moment)]

    def _matching(self, query: DeviceQuery, moment: Moment) -> list[Entry]:
        found = list(map(self._entries.__getitem__, self._sorted()))
        for meets in _filters(query, moment):
            found = list(filter(meets, found))
        return found

    def _sorted(self) -> list[str]:
        if self._names is None:
            self._names = sorted(self._entries)
        return self._names


def _key(order: str, moment: Moment) -> Callable[[Entry], Any]:
    """Returns the sort key of an order. Devices without the label come last, and those without an answering version
    first.
    """
    match order:
        case "presence":
            return lambda entry: _FARTHEST[_presence(entry, moment)]
        case "health":
            return lambda entry: _WORST[_health(entry, moment)[0]]
        case "seen":
            return lambda entry: entry.twin.seen_at or 0.0
        case "version":
            return lambda entry: entry.releases
    label = order.removeprefix("label.")
    return lambda entry: entry.twin.labels.get(label, _LAST)


def _says_the_same(before: Twin, now: Twin) -> bool:
    """Whether all values of an entry are unchanged: most heartbeats report nothing new."""
    return (
        before.desired is now.desired
        and before.clock_off_s == now.clock_off_s
        and before.boots.past == now.boots.past
        and all(getattr(before, name) == getattr(now, name) for name in _SAID)
    )


def entry_of(twin: Twin, traffic: Traffic | None, withdrawn: Mapping[tuple[str, int], str], now: float) -> Entry:
    """Returns a device as queries see it. `withdrawn`: (model, release) -> why."""
    faults = faults_of(twin, withdrawn, now)
    codes = frozenset((*faults, *filter(None, map(reason_of, twin.reported.values()))))
    text = " ".join((twin.device, *(f"{key}={value}" for key, value in twin.labels.items()), *sorted(codes)))
    return Entry(
        twin=twin,
        traffic=traffic,
        told=judge_told(twin, faults, traffic),
        text=text.lower(),
        releases=tuple(sorted(_answering(twin.reported.items()))),
        models=frozenset((*twin.desired, *twin.reported)),
        codes=codes,
    )


def is_pinned(twin: Twin, model: str) -> bool:
    """Whether a pin holds a model on a device; "": any model."""
    held = twin.pins.keys() | twin.pinned.keys()
    return model in held if model else bool(held)


def _answering(reported: Iterable[tuple[str, ModelState]]) -> Iterator[tuple[str, int]]:
    for model, state in reported:
        for each in (state.trial, state.stable):
            if each is not None and each.digest == state.serving:
                yield model, each.release
                break


def _presence(entry: Entry, moment: Moment) -> PresenceWord:
    return entry.twin.presence(moment.now, moment.silent_s)


def _health(entry: Entry, moment: Moment) -> Judged:
    alert = moment.alerts.get(entry.twin.device, "") if moment.alerts else ""
    return judge(entry.told, _presence(entry, moment), alert)


def _filters(query: DeviceQuery, moment: Moment) -> list[Callable[[Entry], bool]]:
    """Returns the filters of a query, the cheapest first."""
    text, model, release, code = query.text, query.model, query.release, query.code
    found: list[Callable[[Entry], bool]] = [lambda entry: is_pinned(entry.twin, model)] if query.pinned else []
    if (among := query.among) is not None:
        found.append(lambda entry: entry.twin.device in among)
    if model:
        found.append(lambda entry: model in entry.models)
    if code:
        coded = query.coded
        found.append(lambda entry: code in entry.codes or entry.twin.device in coded)
    if release is not None and model:
        found.append(lambda entry: (model, release) in entry.releases)
    elif release is not None:
        found.append(lambda entry: any(number == release for _, number in entry.releases))
    if query.labels:
        wanted = query.labels.items()
        found.append(lambda entry: wanted <= entry.twin.labels.items())
    if text:
        found.append(lambda entry: text in entry.text)
    if query.presence:
        found.append(lambda entry: _presence(entry, moment) in query.presence)
    if query.health:
        found.append(lambda entry: _health(entry, moment)[0] in query.health)
    return found
