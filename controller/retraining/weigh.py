"""The expected gain of a retraining with its interval, and its costs, in one unit: right answers.

Decides the expected gain: a part of the drop, learnt from earlier attempts of the model. An attempt whose candidate
was stopped has no gain, so a model that does not improve is retrained less and less often. Refuses to know limits
and triggers. Idea: cost-aware retraining, Mahadevan and Mathioudakis, "Cost-aware retraining for machine learning"
(2024).
"""

from controller.gates.estimate import Estimate
from controller.retraining.facts import Facts
from controller.retraining.model import Retraining, Weighed
from controller.retraining.policy import RetrainingPolicy
from controller.retraining.quality import decay_of, mean_loss

PRIOR_ATTEMPTS = 1.0
"""The weight of the policy's `recoverable`, in attempts."""
MAX_RECOVERABLE = 1.5
"""An attempt that gained more than was lost counts as this, so that one lucky attempt does not decide the next ten."""


def weigh(policy: RetrainingPolicy, facts: Facts) -> Weighed | None:
    """The numbers of a decision; None while there are too few labels."""
    recent = mean_loss(facts.recent)
    if recent is None or facts.reference is None or recent.labelled < policy.quality.min_labels:
        return None
    decay = decay_of(facts.reference, recent, policy.quality.confidence, relative=not facts.classifies)
    part = recoverable(policy.recoverable, facts.past)
    gain = Estimate(part * decay.value, part * decay.low, part * decay.high)
    costs = policy.costs
    return Weighed(
        decay=decay,
        recoverable=part,
        gain=gain,
        labels=recent.labelled,
        worth=max(0.0, gain.value) * facts.answers_per_s * costs.horizon_s,
        cost_of_training=costs.per_training_s * facts.training_s,
        cost_of_bytes=costs.per_mb * facts.devices * facts.size_bytes / 1e6,
        cost_of_rollout=costs.per_rollout,
    )


def recoverable(prior: float, past: tuple[Retraining, ...]) -> float:
    """Returns the mean of the prior and of the parts that earlier attempts have recovered."""
    parts = [part for each in past if (part := _won(each)) is not None]
    return (prior * PRIOR_ATTEMPTS + sum(parts)) / (PRIOR_ATTEMPTS + len(parts))


def _won(past: Retraining) -> float | None:
    """Returns the part of the drop that an attempt has recovered; None if its candidate was never judged."""
    weighed = past.decision.weighed
    if weighed is None or weighed.decay.value <= 0 or past.status not in ("passed", "stopped"):
        return None
    if past.status == "stopped" or past.gain is None:
        return 0.0
    return min(MAX_RECOVERABLE, max(0.0, past.gain.value / weighed.decay.value))
