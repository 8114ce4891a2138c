"""Trial against control: data of devices with a release, compared with those of the others in the same hours.

Devices are exchanged at random within their stratum, because rows of one device are not independent. Source:
Fisher, "The Design of Experiments", 1935. Decides the probability of such a distance by chance alone. Refuses to
know how a release is judged.
"""

from collections.abc import Iterable, Mapping

import msgspec
import numpy as np

from contract.tensors import Array
from controller.drift.distance import MIN_ROWS, apart
from controller.drift.shape import Shape

CHOICES = 999
"""Random exchanges: the smallest probability that they can show is 1 in 1,000."""
MIN_DEVICES = 2
"""The fewest devices on each side: single devices differ by their place."""


class Between(msgspec.Struct, frozen=True):
    """The distance between trial and control in one column."""

    what: str
    distance: float
    probability: float
    """The probability that exchanged devices lie as far apart."""
    trial: int
    control: int


def same_hours(
    trial: Iterable[tuple[str, float, Shape]], control: Iterable[tuple[str, float, Shape]]
) -> tuple[dict[str, Shape], dict[str, Shape]]:
    """Returns shapes by device, only of intervals in which both sides have rows; rows are (device, start, shape)."""
    ours, theirs = list(trial), list(control)
    both = {start for _, start, _ in ours} & {start for _, start, _ in theirs}
    return _by_device(ours, both), _by_device(theirs, both)


def between(
    trial: Mapping[str, Shape], control: Mapping[str, Shape], kinds: Mapping[str, str], random: np.random.Generator
) -> list[Between]:
    """Returns columns with the probability that chance alone gives their distance, smallest first. `kinds`: the stratum
    of each device.
    """
    columns = sorted({name for shape in trial.values() for name in shape.features})
    found = [one for name in columns if (one := _of_column(name, trial, control, kinds, random)) is not None]
    return sorted(found, key=lambda each: (each.probability, -each.distance, each.what))


def _of_column(
    name: str,
    trial: Mapping[str, Shape],
    control: Mapping[str, Shape],
    kinds: Mapping[str, str],
    random: np.random.Generator,
) -> Between | None:
    sides = [
        [
            (device, shape.features[name])
            for device, shape in side.items()
            if sum(shape.features.get(name, ())) >= MIN_ROWS
        ]
        for side in (trial, control)
    ]
    if min(map(len, sides)) < MIN_DEVICES:
        return None
    every = [*sides[0], *sides[1]]
    bins = max(len(counts) for _, counts in every)
    rows = np.array([[*counts, *[0] * (bins - len(counts))] for _, counts in every], dtype=np.float64)
    ratios = rows / rows.sum(axis=1, keepdims=True)
    treated = np.arange(len(every)) < len(sides[0])
    kind = np.array([kinds.get(device, "") for device, _ in every])
    seen = _far(ratios, treated)
    as_far = sum(_far(ratios, _exchanged(treated, kind, random)) >= seen - 1e-12 for _ in range(CHOICES))
    return Between(name, seen, (1 + as_far) / (CHOICES + 1), len(sides[0]), len(sides[1]))


def _far(ratios: Array, treated: Array) -> float:
    return apart(ratios[treated].mean(axis=0), ratios[~treated].mean(axis=0))


def _exchanged(treated: Array, kind: Array, random: np.random.Generator) -> Array:
    found = treated.copy()
    for each in np.unique(kind):
        places = np.flatnonzero(kind == each)
        found[places] = random.permutation(treated[places])
    return found


def _by_device(rows: Iterable[tuple[str, float, Shape]], both: set[float]) -> dict[str, Shape]:
    found: dict[str, Shape] = {}
    for device, start, shape in rows:
        if start in both:
            found[device] = found.get(device, Shape()).plus(shape)
    return found
