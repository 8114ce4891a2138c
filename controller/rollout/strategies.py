"""The strategies that ship. configs/rollouts holds the same as commented TOML; a test compares them."""

from decimal import Decimal

from contract.desired import TrialPolicy
from controller.rollout.model import Rule, Strategy, Wave

_TRIAL = TrialPolicy(soak_s=Decimal(60), min_samples=30)

_RULES = (
    Rule(metric="failed_ratio", threshold=0.0, min_samples=1),
    Rule(metric="error_ratio", threshold=0.02, min_samples=30, on_missing="skip"),
    Rule(metric="accuracy_drop", threshold=0.05, min_samples=100, on_missing="skip"),
    Rule(metric="latency_ratio_p95", threshold=3.0, min_samples=30, on_missing="skip", on_fail="pause"),
)

ALL_AT_ONCE = Strategy(name="all_at_once", waves=(Wave(percent=100),), rules=_RULES[:1], trial=_TRIAL)
CANARY = Strategy(name="canary", waves=(Wave(percent=5, soak_s=300.0), Wave(percent=100)), rules=_RULES, trial=_TRIAL)
STAGED = Strategy(
    name="staged",
    waves=(
        Wave(percent=1, soak_s=600.0),
        Wave(percent=10, soak_s=600.0),
        Wave(percent=50, soak_s=600.0),
        Wave(percent=100),
    ),
    rules=_RULES,
    trial=_TRIAL,
)

STRATEGIES = {strategy.name: strategy for strategy in (ALL_AT_ONCE, CANARY, STAGED)}
