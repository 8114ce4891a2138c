"""The strategies that ship with Edgeward. configs/rollouts holds the same as commented TOML; a test compares them."""

from decimal import Decimal

from msgspec.structs import replace

from contract.desired import TrialPolicy
from controller.rollout.model import Rule, Strategy, Wave

_TRIAL = TrialPolicy(soak_s=Decimal(60), min_samples=30)
_COMPARED = replace(_TRIAL, reverse_share=Decimal("0.1"))
"""Stable repeats a tenth of the trial's inferences: a change of the input data then affects both versions."""

_FAILED = Rule(metric="failed_ratio", threshold=0.0, min_samples=1)
_RULES = (
    _FAILED,
    Rule(metric="error_ratio", threshold=0.02, min_samples=30, on_missing="skip"),
    Rule(metric="accuracy_drop", threshold=0.02, min_samples=100, on_missing="skip"),
    Rule(metric="error_increase", threshold=0.1, min_samples=100, on_missing="skip"),
    Rule(metric="latency_ratio_p95", threshold=3.0, min_samples=30, on_missing="skip", on_fail="pause"),
)
_BY_STRATUM = tuple(replace(rule, scope="stratum", on_fail="roll_back_stratum") for rule in _RULES[:4])

ALL_AT_ONCE = Strategy(name="all_at_once", waves=(Wave(percent=100),), rules=_RULES[:1], trial=_TRIAL)
CANARY = Strategy(
    name="canary", waves=(Wave(percent=5, soak_s=300.0), Wave(percent=100)), rules=_RULES, trial=_COMPARED
)
STAGED = Strategy(
    name="staged",
    waves=(
        Wave(percent=1, soak_s=600.0),
        Wave(percent=10, soak_s=600.0),
        Wave(percent=50, soak_s=600.0),
        Wave(percent=100),
    ),
    rules=(*_BY_STRATUM, _RULES[4]),
    start_s=86_400.0,
    max_concurrent=500,
    per_minute=50.0,
    growth_per_minute=1.5,
    jitter_s=60.0,
    attempts=3,
    retry_s=60.0,
    trial=_COMPARED,
)
SHADOW_THEN_CANARY = Strategy(
    name="shadow_then_canary",
    waves=(
        Wave(percent=5, mode="shadow", soak_s=600.0),
        Wave(percent=5, soak_s=300.0),
        Wave(percent=100),
    ),
    rules=(Rule(metric="agreement", threshold=0.8, min_samples=100, on_missing="skip", on_fail="pause"), *_RULES),
    trial=_COMPARED,
)
BLUE_GREEN_BY_STRATUM = Strategy(
    name="blue_green_by_stratum",
    waves=(Wave(percent=5, soak_s=300.0), Wave(each_stratum=True, soak_s=300.0, hold=True), Wave(percent=100)),
    rules=(*_BY_STRATUM, _RULES[4]),
    trial=_COMPARED,
)

STRATEGIES = {
    strategy.name: strategy for strategy in (ALL_AT_ONCE, CANARY, STAGED, SHADOW_THEN_CANARY, BLUE_GREEN_BY_STRATUM)
}
