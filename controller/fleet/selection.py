"""Selection of the devices of a rollout, by their labels. Pure."""

from collections.abc import Iterable, Mapping

from contract.errors import BadInput, Code
from controller.fleet.twin import Twin


def select(twins: Iterable[Twin], selector: Mapping[str, str]) -> list[str]:
    """Names of devices whose labels hold every pair of `selector` (none: all), sorted; BadInput `selector_empty`."""
    known = list(twins)
    found = sorted(twin.device for twin in known if selector.items() <= twin.labels.items())
    if not found:
        wanted = ", ".join(f"{key}={value}" for key, value in sorted(selector.items())) or "any label"
        labels = sorted({f"{key}={value}" for twin in known for key, value in twin.labels.items()})
        raise BadInput(
            Code.SELECTOR_EMPTY,
            f"no device has {wanted}; {len(known)} known, with labels {', '.join(labels[:20]) or 'none'}",
        )
    return found
