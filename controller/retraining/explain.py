"""Why a model was trained again, or was not, in sentences for people.

Decides the words. Refuses to know clocks: times are given as durations.
"""

from controller.gates.champion import change
from controller.retraining.model import Decision, Retraining, Weighed

_WORDS = {
    "train": "A training was started",
    "ask": "A person is asked to approve a training",
    "wait": "No training was started, because something holds it back",
    "no": "No training was started",
}
_STANDS = {
    "proposed": "It waits for a person: edgeward retrain approve {id}",
    "approved": "It waits for a worker: edgeward retrain worker PIPELINE --model {model}",
    "running": "The worker {worker} is in step {step}.",
    "passed": "The candidate v{release} passed its gates; the model's deployment policy rolls it out.",
    "stopped": "The candidate was stopped and the champion v{champion} goes on serving.",
    "failed": "The pipeline failed in step {step} and the champion v{champion} goes on serving.",
    "declined": "A person declined it.",
}


def explain_decision(decision: Decision) -> list[str]:
    """Returns the sentences of one decision."""
    proposed = "; ".join(f"{each.trigger}: {each.detail}" for each in decision.proposals)
    again = f" It was decided so {decision.times} times in a row." if decision.times > 1 else ""
    found = [f"Proposed by {proposed}.", f"{_WORDS[decision.word]}: {decision.detail}.{again}"]
    return found + (_numbers(decision.weighed) if decision.weighed is not None else [])


def explain(attempt: Retraining) -> list[str]:
    """Returns the sentences of one attempt: why it began and what came of it."""
    names = {
        "id": attempt.id, "model": attempt.model, "worker": attempt.worker or "-", "step": attempt.step or "-",
        "release": attempt.release, "champion": attempt.champion,
    }  # fmt: skip
    found = [*explain_decision(attempt.decision), _STANDS[attempt.status].format(**names)]
    if attempt.approved_by:
        found.append(f"{attempt.approved_by} approved it.")
    if attempt.start:
        found.append(f"The training began {attempt.start}.")
    if attempt.gain is not None:
        found.append(
            f"Measured gain over v{attempt.champion}: {change(attempt.gain, classifies=attempt.decision.classifies)}."
        )
    return found + ([f"{attempt.detail}."] if attempt.detail else [])


def _numbers(weighed: Weighed) -> list[str]:
    part = f"{100 * weighed.recoverable:.0f} % of a drop is expected to come back, by what earlier attempts won."
    costs = (
        f"Costs {weighed.cost:.0f} answers: training {weighed.cost_of_training:.0f}, bytes "
        f"{weighed.cost_of_bytes:.0f}, rollout {weighed.cost_of_rollout:.0f}; worth {weighed.worth:.0f}."
    )
    return [part, costs]
