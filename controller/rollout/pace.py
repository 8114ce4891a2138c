"""How fast a wave is offered: a cap on what is under way, a rate that may grow, a spread by each device's own hash.

Decides how many devices, and which. Refuses to know what is offered.
"""

import math
from collections.abc import Sequence

from controller.rollout.model import Rollout
from controller.rollout.plan import unit_hash


def due(rollout: Rollout, untold: Sequence[str], *, told: int, under_way: int, now: float) -> list[str]:
    """Of the devices that still are to be offered the release, those whose time has come, in their order.

    `told`: devices of this wave that were offered it. `under_way`: devices of any wave that have not decided.
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
    """Offers that a wave may have made after `waited_s`: the integral of the rate, and one to begin with."""
    minutes = waited_s / 60.0
    grown = minutes if growth == 1.0 else (growth**minutes - 1.0) / math.log(growth)
    return 1 + int(per_minute * grown)
