"""Neighbours of a device that hold an artifact and serve it. Refuses to know how it is fetched.

The operator decides which devices are neighbours: those with the same value of a label, for example `site`.
"""

from collections.abc import Mapping, Sequence
from itertools import islice

from contract.names import unit_number
from controller.fleet.twin import Twin

MAX_NEIGHBOURS = 2
"""The number of neighbours whose addresses one device gets. The second one is used if the first is offline or busy."""
MAX_LOOKED_AT = 64
"""The number of neighbours that are considered for one device, because a site may have thousands."""

NeighboursByLabel = Mapping[str, Sequence[Twin]]
"""Devices that serve artifacts, by the label's value."""


def neighbours_by_label(label: str, twins: Mapping[str, Twin], now: float, silent_s: float) -> NeighboursByLabel:
    """Returns the online devices that serve artifacts, by the value of `label`; none for an empty label."""
    found: dict[str, list[Twin]] = {}
    for _, twin in sorted(twins.items()):
        place = twin.labels.get(label, "") if label else ""
        if place and twin.serve_at and twin.presence(now, silent_s) == "online":
            found.setdefault(place, []).append(twin)
    return found


def neighbours_of(twin: Twin, label: str, model: str, digest: str, near_by_label: NeighboursByLabel) -> tuple[str, ...]:
    """Returns addresses of neighbours that have confirmed the artifact.

    Devices begin at different neighbours, so that no neighbour serves all of them.
    """
    near = near_by_label.get(twin.labels.get(label, ""), ())
    begin = int(unit_number(twin.device) * len(near))
    looked_at = (near[(begin + step) % len(near)] for step in range(min(MAX_LOOKED_AT, len(near))))
    holders = (each for each in looked_at if each.device != twin.device and _has_confirmed(each, model, digest))
    return tuple(each.serve_at for each in islice(holders, MAX_NEIGHBOURS))


def _has_confirmed(twin: Twin, model: str, digest: str) -> bool:
    state = twin.reported.get(model)
    return state is not None and state.stable is not None and state.stable.digest == digest
