"""Devices near a device that hold an artifact and share it. Refuses to know how it is fetched.

"Near" is what the operator says it is: devices that have one value of a label, `site` say, are neighbours.
"""

from collections.abc import Mapping, Sequence
from itertools import islice

from contract.names import unit_number
from controller.fleet.twin import Twin

MAX_NEIGHBOURS = 2
"""Neighbours that are named to one device; the second is for when the first is gone or busy."""
MAX_LOOKED_AT = 64
"""Neighbours that are looked at for one device: a site may have thousands."""

NeighboursByLabel = Mapping[str, Sequence[Twin]]
"""Devices that share what they have, by the label's value."""


def neighbours_by_label(label: str, twins: Mapping[str, Twin], now: float, silent_s: float) -> NeighboursByLabel:
    """Online devices that share, by the value of `label`; none for an empty label."""
    found: dict[str, list[Twin]] = {}
    for _, twin in sorted(twins.items()):
        place = twin.labels.get(label, "") if label else ""
        if place and twin.serve_at and twin.presence(now, silent_s) == "online":
            found.setdefault(place, []).append(twin)
    return found


def neighbours_of(twin: Twin, label: str, model: str, digest: str, near_by_label: NeighboursByLabel) -> tuple[str, ...]:
    """Addresses of neighbours that have confirmed the artifact. Each device begins elsewhere: none is asked by all."""
    near = near_by_label.get(twin.labels.get(label, ""), ())
    begin = int(unit_number(twin.device) * len(near))
    looked_at = (near[(begin + step) % len(near)] for step in range(min(MAX_LOOKED_AT, len(near))))
    holders = (each for each in looked_at if each.device != twin.device and _has_confirmed(each, model, digest))
    return tuple(each.serve_at for each in islice(holders, MAX_NEIGHBOURS))


def _has_confirmed(twin: Twin, model: str, digest: str) -> bool:
    state = twin.reported.get(model)
    return state is not None and state.stable is not None and state.stable.digest == digest
