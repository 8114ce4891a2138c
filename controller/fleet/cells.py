"""Every device as one character of health, one of presence and one of version, by the value of a label.

Decides the characters, the order, and how many devices share a cell if there are more than a person can distinguish.
Refuses to know how cells are drawn.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from contract.messages import ModelState
from contract.wire import Message
from controller.fleet.device_health import HEALTH_WORDS
from controller.fleet.fit import stratum_of
from controller.fleet.glance import Glance
from controller.fleet.steps import Steps, strides
from controller.fleet.twin import PresenceWord, Twin

MAX_CELLS = 3_200
"""The most cells of one picture: they fit on a screen at 9 pixels each, and take 10 kB on the wire with names."""
MAX_GROUPS = 60
"""The most groups of one picture; the smallest ones share one group named `other`."""
MAX_VERSIONS = 35
"""The most versions of a model with their own character; older ones share the last."""
FIRST_LABEL = "site"
"""The label by which devices are grouped if they have it."""
BY_KIND = "stratum"
"""The grouping if no label divides the devices."""
NOT_RUN, UNKNOWN_VERSION = ".", "?"
_ILL = frozenset({"failing", "attention", "silent"})
_KIND = ("machine", "memory")
_PRESENCE: Mapping[PresenceWord, str] = {"online": "o", "silent": "s", "offline": "f", "unknown": "u"}
_CHARACTERS = "0123456789abcdefghijklmnopqrstuvwxyz"


class GroupCells(Message, frozen=True):
    """The cells of one group, sorted by name; worst first if a cell is many devices."""

    name: str
    devices: int
    ill: int
    """Failing, in need of attention, or silent."""
    health: str
    """One character per cell: the first letter of the word."""
    presence: str
    """One character per cell: `o`nline, `s`ilent, o`f`fline, `u`nknown."""
    version: str
    """One character per cell: its place in `versions`, `.` for a device without the model, `?` for an unknown
    version."""
    names: tuple[str, ...]
    """Names of the devices; empty if a cell is many devices."""


class FleetCells(Message, frozen=True):
    """Every device of the fleet."""

    by: str
    """The label that groups them, or `stratum`."""
    labels: tuple[str, ...]
    """Labels by which they could be grouped."""
    devices: int
    per_cell: int
    model: str
    """The model whose versions are shown."""
    models: tuple[str, ...]
    versions: tuple[int, ...]
    """Newest first."""
    counts: tuple[int, ...]
    """Devices by version."""
    groups: tuple[GroupCells, ...]


def fleet_cells(
    twins: Mapping[str, Twin],
    seen: Glance,
    serving: Callable[[ModelState], int | None],
    *,
    by: str = "",
    model: str = "",
) -> Steps[FleetCells]:
    """Returns the cells of all devices in `seen`, in steps. `serving`: the release that answers on a device."""
    known = [twins[device] for device in seen.health if device in twins]
    labels, runs = yield from _dividing(known)
    chosen = by if by in (*labels, BY_KIND) else _preset(labels)
    shown = model if model in runs else min(runs, key=lambda name: (-runs[name], name), default="")
    releases: dict[str, int | None] = {}
    values: dict[str, list[str]] = {}
    for stride in strides(known):
        for twin in stride:
            releases[twin.device] = _release(twin, shown, serving)
            values.setdefault(_value(twin, chosen), []).append(twin.device)
        yield
    served = Counter(release for release in releases.values() if release)
    versions = tuple(sorted(served, reverse=True))
    places = {release: _CHARACTERS[min(at, MAX_VERSIONS)] for at, release in enumerate(versions)}
    letters = {
        device: NOT_RUN if release is None else places.get(release, UNKNOWN_VERSION)
        for device, release in releases.items()
    }
    yield
    per_cell = max(1, -(-len(known) // MAX_CELLS))
    groups = []
    for name, members in _grouped(values):
        groups.append(_cells(name, members, seen, letters, per_cell))
        yield
    return FleetCells(
        by=chosen,
        labels=labels,
        devices=len(known),
        per_cell=per_cell,
        model=shown,
        models=tuple(sorted(runs)),
        versions=versions,
        counts=tuple(served[each] for each in versions),
        groups=tuple(groups),
    )


def _cells(name: str, members: Sequence[str], seen: Glance, letters: Mapping[str, str], per_cell: int) -> GroupCells:
    ordered = members
    if per_cell > 1:
        worst = {word: place for place, word in enumerate(HEALTH_WORDS)}
        ordered = sorted(members, key=lambda device: worst[seen.health[device]])
    heads = ordered[::per_cell]
    return GroupCells(
        name=name,
        devices=len(members),
        ill=sum(seen.health[device] in _ILL for device in members),
        health="".join(seen.health[device][0] for device in heads),
        presence="".join(_PRESENCE[seen.presence[device]] for device in heads),
        version="".join(letters[device] for device in heads),
        names=tuple(members) if per_cell == 1 else (),
    )


def _grouped(groups: Mapping[str, list[str]]) -> list[tuple[str, list[str]]]:
    """Returns the largest groups by name, and all others as one."""
    largest = sorted(groups, key=lambda name: (-len(groups[name]), name))
    rest = [device for name in largest[MAX_GROUPS:] for device in groups[name]]
    kept = sorted((name, groups[name]) for name in largest[:MAX_GROUPS])
    return [*kept, *([("other", sorted(rest))] if rest else [])]


def _dividing(twins: Sequence[Twin]) -> Steps[tuple[tuple[str, ...], Counter[str]]]:
    """Returns (labels with at least two values and fewer than devices, those of most devices first;
    devices by model).
    """
    values: dict[str, set[str]] = {}
    has: Counter[str] = Counter()
    runs: Counter[str] = Counter()
    for stride in strides(twins):
        for twin in stride:
            has.update(twin.labels.keys())
            runs.update(twin.reported.keys())
            for key, value in twin.labels.items():
                values.setdefault(key, set()).add(value)
        yield
    fit = (key for key in values if 1 < len(values[key]) < has[key])
    return tuple(sorted(fit, key=lambda key: (key != FIRST_LABEL, -has[key], key))), runs


def _preset(labels: Sequence[str]) -> str:
    return FIRST_LABEL if FIRST_LABEL in labels else BY_KIND


def _value(twin: Twin, by: str) -> str:
    return stratum_of(twin, _KIND) if by == BY_KIND else twin.labels.get(by, "none")


def _release(twin: Twin, model: str, serving: Callable[[ModelState], int | None]) -> int | None:
    """Returns the release that answers; 0 for an unknown one, None without the model."""
    state = twin.reported.get(model)
    return None if state is None or not state.serving else serving(state) or 0
