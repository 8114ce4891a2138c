"""Breaches of the data contract as rates: by column and kind, for a model and for each device.

Decides the rate and its interval. Refuses to know what a column may hold: the manifest's golden set says that.
"""

import math
from collections.abc import Iterable, Mapping

import msgspec

from contract.row_contract import BREACHES
from controller.drift.shape import Shape

CONFIDENCE_Z = 2.576
"""99 %, because several columns and kinds are tested."""
LIMIT = 0.01
"""A rate of breaches that is not chance: with its margin, the contract excludes one good cell in 7,000."""
MAX_DEVICES_NAMED = 10


class BreachRate(msgspec.Struct, frozen=True):
    """How many cells of a column break the data contract in one way."""

    what: str
    kind: str
    breaches: int
    rows: int
    rate: float
    low: float
    high: float
    devices: Mapping[str, float]
    """The highest rates of devices, by name."""

    @property
    def is_beyond(self) -> bool:
        """Whether the whole interval is above `LIMIT`."""
        return self.low > LIMIT


def breach_rates(by_device: Mapping[str, Shape]) -> list[BreachRate]:
    """Every column and kind with a breach, the highest rate first."""
    pairs = {(column, kind) for shape in by_device.values() for column, counts in shape.breaches.items()
             for kind, count in enumerate(counts) if count and kind < len(BREACHES)}  # fmt: skip
    found = [_rate(column, kind, by_device) for column, kind in pairs]
    return sorted(found, key=lambda each: (-each.rate, each.what, each.kind))


def _rate(column: str, kind: int, by_device: Mapping[str, Shape]) -> BreachRate:
    counts = {
        device: (shape.breaches.get(column, (0,) * len(BREACHES))[kind], sum(shape.features.get(column, ())))
        for device, shape in by_device.items()
    }
    breaches, rows = (sum(column) for column in zip(*counts.values(), strict=True))
    low, high = interval(breaches, rows)
    most = sorted(((hits / seen, device) for device, (hits, seen) in counts.items() if hits and seen), reverse=True)[
        :MAX_DEVICES_NAMED
    ]
    return BreachRate(
        what=column,
        kind=BREACHES[kind],
        breaches=breaches,
        rows=rows,
        rate=breaches / rows if rows else 0.0,
        low=low,
        high=high,
        devices={device: rate for rate, device in most},
    )


def interval(hits: int, total: int, z: float = CONFIDENCE_Z) -> tuple[float, float]:
    """(low, high) of a ratio. Source: Wilson, "Probable inference", 1927."""
    if not total:
        return 0.0, 1.0
    ratio = min(1.0, hits / total)
    middle = (ratio + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(ratio * (1 - ratio) / total + z * z / (4 * total * total))
    return max(0.0, middle - half), min(1.0, middle + half)


def devices_beyond(rates: Iterable[BreachRate]) -> int:
    """Returns how many devices are above the limit in a rate that is."""
    return len({device for each in rates if each.is_beyond for device, rate in each.devices.items() if rate > LIMIT})
