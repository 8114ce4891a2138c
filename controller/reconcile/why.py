"""The history of a device in sentences: its reports, its present versions, and the rollouts that asked for them.

Decides the words. Refuses to know where the history is kept.
"""

import itertools
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from msgspec.structs import replace

from contract.errors import STABLE_AGAIN, Code
from contract.messages import ModelState, Report, UpdateOutcome
from contract.wire import Message
from controller.fleet.pin import pin_words
from controller.fleet.twin import Assigned, Twin
from controller.reconcile.quarantined import version_named
from controller.rollout.model import Rollout


class WhyItem(Message, frozen=True):
    """One thing that happened to a device, or that is true now."""

    at: str
    """Empty for facts that are true now."""
    kind: str
    """asked, fetching, probing, ready, trial, confirmed, rolled_back, rejected, superseded, shadowed, refused:
    events; steady, failed, pinned, quarantined: present facts.
    """
    text: str
    """The sentence, without the time."""
    rollout: str = ""
    """The rollout in the sentence."""

    @property
    def sentence(self) -> str:
        """The sentence with its time, as `edgeward device why` prints it."""
        if self.kind == "asked":
            return self.text.replace(": it was asked", f": at {self.at} it was asked", 1)
        return f"{self.at}: {self.text}" if self.at else self.text


def why_items(
    twin: Twin,
    rollouts: Mapping[str, Rollout],
    history: Iterable[tuple[str, Report]],
    quarantined: Mapping[str, str],
    *,
    faults: Iterable[tuple[str, int, str, str]] = (),
) -> list[WhyItem]:
    """The history, oldest first; the last entries say what it runs now and what it must run.

    `faults` are (model, release, code, words) of rows that failed or were refused.
    """
    told = _without_repeats(item for at, report in history if (item := _reported(at, report)) is not None)
    now = [WhyItem("", "steady", _runs(model, state)) for model, state in sorted(twin.reported.items())]
    failed = [WhyItem("", "failed", f"{model} v{release}: {code}: {words}.") for model, release, code, words in faults]
    asked = [_asked(model, assigned, rollouts) for model, assigned in sorted(twin.desired.items())]
    pins = [
        WhyItem("", "pinned", f"Its own configuration holds {model} at v{release}.")
        for model, release in sorted(twin.pinned.items())
    ]
    kept = [
        WhyItem(
            "",
            "quarantined",
            f"{_named(digest, rollouts.get(name))} is quarantined on it: it failed there in {name}.",
            name,
        )
        for digest, name in quarantined.items()
    ]
    pins += [
        WhyItem("", "pinned", f"{model} is {pin_words(pin)}; rollouts pass it by.")
        for model, pin in sorted(twin.pins.items())
    ]
    return [*told, *now, *failed, *asked, *pins, *kept]


def why(
    twin: Twin,
    rollouts: Mapping[str, Rollout],
    history: Iterable[tuple[str, Report]],
    quarantined: Mapping[str, str],
    *,
    faults: Iterable[tuple[str, int, str, str]] = (),
) -> list[str]:
    """The same as sentences."""
    return [item.sentence for item in why_items(twin, rollouts, history, quarantined, faults=faults)]


def _named(digest: str, rollout: Rollout | None) -> str:
    """A version at the beginning of a sentence."""
    return re.sub("^version ", "Version ", version_named(digest, rollout))


def _without_repeats(told: Iterable[WhyItem]) -> list[WhyItem]:
    """Merges repetitions with nothing between them into one entry, with the number and the time of the last."""
    found: list[WhyItem] = []
    for _, group in itertools.groupby(told, key=lambda item: (item.kind, item.text)):
        first, *more = group
        if more:
            text = f"{first.text.removesuffix('.')} (said {len(more) + 1} times, until {more[-1].at})."
            first = replace(first, text=text)
        found.append(first)
    return found


def _reported(at: str, report: Report) -> WhyItem | None:
    if report.refusal is not None:
        words = f"it refused a document: {report.refusal.code} {report.refusal.detail}."
        return WhyItem(at, "refused", words)
    state = report.state
    if state is None:
        return None
    ended = state.outcome
    kind = state.phase if state.phase != "steady" or ended is None else _ending(ended)
    return WhyItem(at, kind, f"{state.model}: {_phase(state)}.")


def _phase(state: ModelState) -> str:
    code = f" ({state.code} {state.detail})" if state.code else ""
    match state.phase:
        case "fetching" if state.target is not None:
            return f"it fetches v{state.target.release}{code}"
        case "probing" if state.target is not None:
            return f"it probes v{state.target.release}"
        case "ready" if state.target is not None:
            return f"v{state.target.release} has arrived and waits{code}"
        case "trial" if state.trial is not None:
            passed = state.outcome is not None and state.outcome.result == "shadowed"
            waits = f", {state.detail} so far" if state.detail and not state.code else ""
            return f"v{state.trial.release} {'has passed as a shadow' if passed else f'is on trial{waits}'}{code}"
        case _:
            return _ended(state) + code


def _ended(state: ModelState) -> str:
    ended = state.outcome
    if ended is None:
        return "it runs nothing" if state.stable is None else f"it runs v{state.stable.release}"
    if _is_superseded(ended):
        return f"v{ended.version.release}'s trial ended, because {_asked_instead(state, ended)}"
    reason = f": {ended.code} {ended.detail}".rstrip() if ended.code else ""
    result = ended.result.replace("_", " ")
    return f"v{ended.version.release} was {result}{reason}"


def _ending(ended: UpdateOutcome) -> str:
    return "superseded" if _is_superseded(ended) else ended.result


def _is_superseded(ended: UpdateOutcome | None) -> bool:
    """Whether a trial has ended only because the device was asked for another version."""
    return ended is not None and ended.result == "rolled_back" and ended.code == Code.SUPERSEDED


def _asked_instead(state: ModelState, ended: UpdateOutcome) -> str:
    if ended.detail == STABLE_AGAIN and state.stable is not None:
        return f"v{state.stable.release} was asked for again"
    return "another version was asked for"


def _runs(model: str, state: ModelState) -> str:
    trial = f" Now {_phase(state)}." if state.phase == "trial" else ""
    if state.stable is None:
        return f"{model}: it has confirmed no version.{trial}"
    how = " and has shown that it is complete and reproduces its golden set" if state.stable_proven else ""
    return f"{model}: its last confirmed version is v{state.stable.release}{how}.{trial}"


def _asked(model: str, assigned: Assigned, rollouts: Mapping[str, Rollout]) -> WhyItem:
    at = datetime.fromtimestamp(assigned.offered_at, UTC).isoformat(timespec="seconds")
    words = f"{model}: it was asked to run v{assigned.release} (generation {assigned.generation}"
    attempt = f", attempt {assigned.attempt}" if assigned.attempt > 1 else ""
    rollout = rollouts.get(assigned.rollout)
    if rollout is None:
        return WhyItem(at, "asked", f"{words}{attempt}).")
    approved = f", approved by {rollout.approved_by}" if rollout.approved_by else ""
    back = f" rolling v{rollout.release} back" if assigned.release != rollout.release else ""
    by = f"rollout {rollout.id}{back}, strategy {rollout.strategy.name}, started by {rollout.created_by}{approved}"
    reason = f"; {rollout.reason}" if rollout.reason else ""
    return WhyItem(at, "asked", f"{words}{attempt}) by {by}{reason}.", rollout.id)
