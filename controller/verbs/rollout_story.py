"""The history of a rollout, oldest first: actions of people and the controller, failed devices, new verdicts.

Decides which events are shown and how many. Every entry comes from the audit or from the series of verdicts, which both
survive a restart; the audit is permanent. Refuses to store anything of its own.
"""

from collections.abc import Iterable
from typing import Literal

import msgspec

from contract.wire import Message
from controller.clock import stamp_of
from controller.rollout.verdict import RuleVerdict
from controller.state import State
from controller.verbs.rollouts import find

MAX_EVENTS = 500
"""The newest events of one rollout that are shown: a rollout has tens; one with verdicts that change often has more
than people read."""
EventKind = Literal["proposed", "running", "wave", "paused", "ended", "failed", "verdict", "written", "other"]
_KINDS: dict[str, EventKind] = {
    "rollout start": "proposed",
    "rollout approve": "running",
    "rollout resume": "running",
    "rollout wave": "wave",
    "rollout promote": "wave",
    "rollout pause": "paused",
    "rollout stop": "failed",
    "rollout abort": "ended",
    "rollout rollback": "ended",
    "rollout completed": "ended",
    "rollout aborted": "ended",
    "rollout rolled back": "ended",
    "device quarantine": "failed",
    "rollout note": "written",
    "rollout comment": "written",
    "rollout review": "written",
    "rollout ticket": "written",
}
_NO_WORD = {"no_data": "inconclusive"}
"""Skipped or waiting, a rule has no verdict: a change between these is not shown."""


class RolloutEvent(Message, frozen=True):
    """One thing that has happened to a rollout."""

    at: str
    kind: EventKind
    action: str
    """The action as in the audit; `verdict` if the verdict of a rule has changed."""
    by: str
    """The actor; `controller` for its own actions."""
    device: str
    """The device of the event; empty: the rollout."""
    text: str


def story(state: State, name: str) -> list[RolloutEvent]:
    """Returns the newest 500 events, oldest first. BadInput `unknown_rollout`."""
    find(state, name)
    told = [*_deeds(state, name), *_verdicts(state, name)]
    return sorted(told, key=lambda each: each.at)[-MAX_EVENTS:]


def _deeds(state: State, name: str) -> Iterable[RolloutEvent]:
    for entry in state.journal.audit_story(name, MAX_EVENTS):
        device = "" if entry["subject"] == name else entry["subject"]
        yield RolloutEvent(
            at=entry["at"],
            kind=_KINDS.get(entry["action"], "other"),
            action=entry["action"],
            by=entry["actor"],
            device=device,
            text=entry["detail"],
        )


def _verdicts(state: State, name: str) -> Iterable[RolloutEvent]:
    """Yields a rule's verdict if it differs from the one before; an inconclusive first one is not shown."""
    said: dict[tuple[int, str], str] = {}
    for at, body in state.telemetry.verdicts(name):
        verdict = msgspec.json.decode(body, type=RuleVerdict)
        key = verdict.rule, verdict.stratum
        before, now = said.get(key, "inconclusive"), _NO_WORD.get(verdict.word, verdict.word)
        said[key] = now
        if before != now:
            where = f" on {verdict.stratum}" if verdict.stratum else ""
            words = f"rule {verdict.metric}{where} {verdict.says}: {verdict.detail}"
            yield RolloutEvent(
                at=stamp_of(at), kind="verdict", action="verdict", by="controller", device="", text=words
            )
