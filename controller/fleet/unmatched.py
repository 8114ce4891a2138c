"""The values of filters that no device has, for a query that has found none: a mistyped name is told apart from a
filter that is right and matches nothing now. And the words for a device that is not there.

Decides which filters it looks at: model, version and labels. Pure. Refuses to know how devices are found.
"""

from collections.abc import Collection, Iterable, Iterator

from contract.errors import BadInput, Code
from contract.near_names import is_it, some_of
from controller.fleet.device_query import DeviceQuery
from controller.fleet.roster import Entry


def unknown_device(device: str, known: Collection[str]) -> BadInput:
    """Returns the refusal of a name that no device has."""
    near = is_it(device, known) or "; `edgeward device list` shows all"
    return BadInput(Code.UNKNOWN_DEVICE, f"no device {device[:64]!r} has reported{near}")


def unmatched(query: DeviceQuery, entries: Iterable[Entry], models: Iterable[str]) -> tuple[str, ...]:
    """Returns a sentence for each filter whose value no device has. `models`: those of the registry."""
    fleet = list(entries)
    return (*_model(query, fleet, models), *_release(query, fleet), *_labels(query, fleet))


def _model(query: DeviceQuery, fleet: list[Entry], models: Iterable[str]) -> Iterator[str]:
    known = sorted({*models, *(name for entry in fleet for name in entry.models)})
    if query.model and query.model not in known:
        near = is_it(query.model, known)
        yield f"there is no model {query.model[:64]!r}{near or f'; there are: {some_of(known)}'}"
    elif query.model and not any(query.model in entry.models for entry in fleet):
        yield f"no device has or shall have the model {query.model}"


def _release(query: DeviceQuery, fleet: list[Entry]) -> Iterator[str]:
    answering = {each for entry in fleet for each in entry.releases if query.model in ("", each[0])}
    releases = sorted({release for _, release in answering})
    if query.release is not None and query.release not in releases:
        of = f" of {query.model}" if query.model else ""
        words = some_of([f"v{release}" for release in releases])
        yield f"v{query.release}{of} answers on no device; versions that answer: {words}"


def _labels(query: DeviceQuery, fleet: list[Entry]) -> Iterator[str]:
    for key, value in sorted(query.labels.items()):
        values = sorted({entry.twin.labels[key] for entry in fleet if key in entry.twin.labels})
        if not values:
            keys = sorted({each for entry in fleet for each in entry.twin.labels})
            yield f"no device has a label {key[:64]!r}{is_it(key, keys) or f'; labels: {some_of(keys)}'}"
        elif value not in values:
            yield f"no device has {key}={value[:64]}{is_it(value, values) or f'; values: {some_of(values)}'}"
