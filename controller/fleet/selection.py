"""Selection of the devices of a rollout by their labels. Pure. Refuses to know rollouts."""

from collections.abc import Iterable, Mapping, Sequence

from contract.errors import BadInput, Code
from contract.near_names import is_it, some_of
from controller.fleet.twin import Twin


def select(twins: Iterable[Twin], selector: Mapping[str, str]) -> list[str]:
    """Returns the sorted names of devices whose labels contain all of `selector`; an empty selector selects all.

    BadInput `selector_empty` if no device is selected; the message lists the labels that exist.
    """
    known = list(twins)
    found = sorted(twin.device for twin in known if selector.items() <= twin.labels.items())
    if not found:
        wanted = ", ".join(f"{key}={value}" for key, value in sorted(selector.items())) or "any label"
        labels = sorted({f"{key}={value}" for twin in known for key, value in twin.labels.items()})
        near = "".join(_nearest(key, value, known) for key, value in sorted(selector.items()))
        raise BadInput(
            Code.SELECTOR_EMPTY, f"no device has {wanted}{near}; {len(known)} known, with labels {some_of(labels)}"
        )
    return found


def _nearest(key: str, value: str, known: Sequence[Twin]) -> str:
    """Returns `; is it '...'?` with the nearest key, or the nearest value of the key; empty for a label that exists."""
    values = sorted({twin.labels[key] for twin in known if key in twin.labels})
    if not values:
        return is_it(key, sorted({each for twin in known for each in twin.labels}))
    return "" if value in values else is_it(value, values)
