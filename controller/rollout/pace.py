"""The pace of a wave: a limit on devices in progress, a rate that may grow, and a delay by each device's own hash.

Decides how many devices are offered the release now, and which. Refuses to know what is offered.
"""

import math
from collections.abc import Sequence

from controller.rollout.model import Rollout
from controller.rollout.plan import unit_hash


def due(rollout: Rollout, untold: Sequence[str], *, told: int, under_way: int, now: float) -> list[str]:
    """Returns the devices of `untold` that are due, in their order.

    `untold`: devices that must still be offered the release. `told`: the number of devices of this wave that were
    offered it. `under_way`: the number of devices of any wave without a result. `now` is in seconds since 1970.
    """
    strategy, waited_s = rollout.strategy, now - rollout.wave_began_at
    ready = [name for name in untold if waited_s >= strategy.jitter_s * unit_hash(rollout.id + "/jitter", name)]
    room = len(ready)
    if strategy.max_concurrent:
        room = min(room, strategy.max_concurrent - under_way)
    if strategy.per_minute:
        room = min(room, allowed(strategy.per_minute, strategy.growth_per_minute, waited_s) - told)
    return ready[: max(0, room)]


def allowed(per_minute: float, growth: float, waited_s: float) -> int:
    """Returns the number of offers that a wave may have made after `waited_s`: one, plus the integral of the rate."""
    minutes = waited_s / 60.0
    grown = minutes if growth == 1.0 else (growth**minutes - 1.0) / math.log(growth)
    return 1 + int(per_minute * grown)
