"""The final outcome of a rollout on each member, with code and detail, kept after the device runs other versions.

Decides when an outcome becomes final, and which one replaces which. Refuses to know where endings are stored.
"""

from collections.abc import Mapping, Sequence

from contract.messages import ModelState
from contract.wire import Message
from controller.rollout.facts import DeviceFact
from controller.rollout.model import FINAL, RETURNING, Member, Rollout
from controller.rollout.outcome import DECIDED, FAILURES, MemberOutcome, ended_in

MAX_NAMED = 3
"""The most devices that a sentence names: enough to examine, few enough to read."""


class Ending(Message, frozen=True):
    """The outcome of a rollout for one device, with the device's own text if there is one."""

    outcome: MemberOutcome
    code: str = ""
    detail: str = ""

    @property
    def label(self) -> str:
        """The code, or the outcome if there is none, and the detail."""
        return f"{self.code or self.outcome} {self.detail}".rstrip()


Endings = Mapping[str, Ending]
"""Outcomes by device."""


def ending_of(
    rollout: Rollout, member: Member, fact: DeviceFact, word: MemberOutcome, known: Ending | None
) -> Ending | None:
    """Returns the ending of a member whose outcome is `word` now; None while it has none, or if `known` stays
    unchanged.
    """
    if word == "pinned":
        return Ending(outcome=word) if known is None or _gives_way(rollout, known) else None
    if rollout.status in RETURNING or word == "stopped":
        return _sent_back(rollout, member, fact, word, known)
    if word not in DECIDED or (known is not None and known.outcome == word):
        return None
    if rollout.status == "completed" and known is not None:
        return None
    return Ending(outcome=word, **_words(rollout, fact, word))


def shown(rollout: Rollout, word: MemberOutcome, known: Ending | None) -> MemberOutcome:
    """Returns the outcome to show: for an ended rollout the stored one, and `waiting` for devices that it never
    reached and that have not left the fleet.
    """
    if known is not None and (rollout.status in FINAL or rollout.status in RETURNING):
        return known.outcome
    return "waiting" if rollout.status in FINAL and word != "retired" else word


def named(devices: Sequence[str]) -> str:
    """Returns up to `MAX_NAMED` devices by name, and how many more there are."""
    more = f" and {len(devices) - MAX_NAMED} more" if len(devices) > MAX_NAMED else ""
    return ", ".join(devices[:MAX_NAMED]) + more


def named_failures(rollout: Rollout, endings: Endings, stratum: str = "") -> str:
    """Returns up to `MAX_NAMED` failed devices whose failure was not accepted by a resume, each with its code; empty
    for none.
    """
    failed = [
        f"{member.device} ({ending.code or ending.outcome})"
        for member in rollout.members
        if (ending := endings.get(member.device)) is not None
        and ending.outcome in FAILURES
        and member.device not in rollout.acknowledged
        and stratum in ("", member.stratum)
    ]
    return named(failed)


def _gives_way(rollout: Rollout, known: Ending) -> bool:
    """Whether a pin replaces a stored outcome: one that is no failure, of a rollout that has not completed."""
    return rollout.status != "completed" and known.outcome in ("succeeded", "absent")


def _sent_back(
    rollout: Rollout, member: Member, fact: DeviceFact, word: MemberOutcome, known: Ending | None
) -> Ending | None:
    """Keeps a failure, even if the device was rolled back; devices that had or fetched the release were rolled back."""
    if known is not None and known.outcome != "succeeded":
        return None
    keeps = rollout.status == "aborting" and word == "succeeded"
    if keeps or member.wave > rollout.wave or not (known is not None or _was_told(rollout, fact)):
        return None if known is not None or not keeps else Ending(outcome="succeeded")
    return Ending(outcome="sent_back", detail=rollout.reason)


def _was_told(rollout: Rollout, fact: DeviceFact) -> bool:
    return fact.assigned is not None and fact.assigned.rollout == rollout.id


def _words(rollout: Rollout, fact: DeviceFact, word: MemberOutcome) -> dict[str, str]:
    if word not in FAILURES or word == "regressed":
        return {"detail": _runs_now(fact.state)} if word == "regressed" else {}
    ended = ended_in(fact)
    if ended is not None:
        return {"code": ended.code, "detail": ended.detail}
    code, detail = (fact.state.code, fact.state.detail) if fact.state is not None else ("", "")
    return {"code": code, "detail": detail or _undecided(rollout, fact, word)}


def _undecided(rollout: Rollout, fact: DeviceFact, word: MemberOutcome) -> str:
    if word == "silent":
        return "it was told, and nothing was heard of it in time"
    phase = fact.state.phase if fact.state is not None else "unknown"
    return f"undecided after {rollout.strategy.deadline_s:.0f} s, in phase {phase}"


def _runs_now(state: ModelState | None) -> str:
    stable = state.stable if state is not None else None
    return "it had confirmed it and runs nothing now" if stable is None else f"it runs v{stable.release} now"
