"""The claims of the demo, compared with the controller's API. A test and the exit code depend on them.

Decides what must be true. Refuses to know how it is printed.
"""

from dataclasses import dataclass
from typing import Any

from edgeward.demo.loop.story import DEVICES, MODEL, RECOVERED_S, Loop

FALLEN = 0.1
"""How much the accuracy must have fallen, and the smallest part that must be recovered, as a fraction of the
answers."""


@dataclass(frozen=True)
class Claim:
    """One sentence, and whether it is true."""

    words: str
    holds: bool


def figures_of(story: Loop) -> dict[str, Any]:
    """Accuracy before, at its worst and after; actions of people; time."""
    series = story.accuracy.series(story.turns_at, story.recovered_at)
    return {
        "before": story.accuracy.mean(story.serves_at, story.turns_at) or 0.0,
        "worst": min((accuracy for _, accuracy in series), default=1.0),
        "after": story.accuracy.mean(story.recovered_at, story.recovered_at + RECOVERED_S + 1) or 0.0,
        "v1_alone": story.accuracy_of_v1(story.recovered_at, story.recovered_at + RECOVERED_S),
        "hands": len(story.hands()),
        "asked": story.stations.asked if story.stations is not None else 0,
        "failed": story.stations.failed if story.stations is not None else 0,
        "labelled": story.stations.labelled if story.stations is not None else 0,
        "took_s": round(story.now_s, 1),
    }


def claims_of(story: Loop) -> list[Claim]:
    """Returns all claims that must be true, from the controller's records."""
    figures, client, attempt, rollout = figures_of(story), story.client, story.attempt, story.rollout
    triggers = {each.trigger for each in attempt.decision.proposals} if attempt is not None else set()
    release = attempt.release if attempt is not None else 0
    gates = {each.gate: each for each in client.version(MODEL, release).gates} if release else {}
    champion = gates.get("champion")
    devices = [model.stable_release for device in client.devices() for model in device.models]
    waves = rollout.waves if rollout is not None else 0
    verdict = champion.detail if champion is not None else "no candidate was judged"
    by = rollout.created_by if rollout is not None else "nobody"
    hands = "; ".join(story.hands()) or "nobody did anything"
    return [
        Claim(
            f"accuracy fell from {figures['before']:.2f} to {figures['worst']:.2f}",
            bool(figures["worst"] <= figures["before"] - FALLEN),
        ),
        Claim("labels that came late showed the decay, and the decay proposed a training", "decay" in triggers),
        Claim(f"the gate of the champion: {verdict}", bool(champion is not None and champion.passed)),
        Claim(
            f"shadow, canary, fleet: a rollout of {waves} waves by the {by}",
            bool(rollout is not None and rollout.status == "completed" and by.startswith("policy of")),
        ),
        Claim(f"v{release} serves on {devices.count(release)} of {DEVICES} devices", devices == [release] * DEVICES),
        Claim(
            f"accuracy came back to {figures['after']:.2f}; v1 would have {figures['v1_alone']:.2f} on these rows",
            bool(figures["after"] >= max(figures["worst"] + FALLEN, figures["v1_alone"])),
        ),
        Claim(f"{figures['asked']} questions, {figures['failed']} without an answer", figures["failed"] == 0),
        Claim(f"hands used: {figures['hands']} ({hands})", figures["hands"] == 0),
    ]
