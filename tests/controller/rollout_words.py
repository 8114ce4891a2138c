"""Short functions for the state of a member, for tests of the edges of rollouts."""

from typing import Any

from msgspec.structs import replace

from controller.rollout.model import Rollout
from controller.rollout.outcome import outcome_of
from tests.controller.rollout_worlds import (
    CANARY,
    STRATEGY,
    fact,
    rollout,
)

RETRYING = replace(STRATEGY, attempts=3, retry_s=10.0)
STALLED = "transfer_stalled"


def outcome(given: Any, now: float = 0.0, made: Rollout | None = None, member: int = 0) -> str:
    made = made or rollout()
    return outcome_of(made, made.members[member], given, now)


def told(**fields: Any) -> Any:
    return fact(CANARY, assigned=2, **fields)
