"""One rollout: show it, wait for its end, control it."""

import time
from collections.abc import Iterator
from urllib.parse import quote, urlencode

from contract.errors import WorldError
from edgeward.answers.answer import Sentences
from edgeward.answers.rollout_looks import Discussion, RolloutComparison, RolloutEvent
from edgeward.answers.rollouts import Member, Rollout, VerbPreview, Verdict, VerdictPoint
from edgeward.answers.table import Table
from edgeward.transport import Transport

POLL_S = 0.5
PAGE = 1000
"""Members per request."""
AWAY_S = 600.0
"""Seconds for which a controller that has answered before may be unreachable while a person watches: the rollout
continues when it returns.
"""


class RolloutHandle:
    """A rollout by its id."""

    def __init__(self, transport: Transport, rollout: str) -> None:
        self._transport = transport
        self.id = rollout

    def __repr__(self) -> str:
        return f"RolloutHandle({self.id!r})"

    def show(self) -> Rollout:
        """Returns the rollout with its present state."""
        return Rollout.read(self._transport.get(f"/v1/rollouts/{self.id}"))

    def watch(self, *, poll_s: float = POLL_S) -> Iterator[Rollout]:
        """Yields the rollout with its present state, again every `poll_s` seconds, the last time when it has ended.

        If the controller stops answering, it is called again. WorldError after `AWAY_S` without an answer, and at
        once if it has never answered.
        """
        heard_at: float | None = None
        while True:
            try:
                view = self.show()
            except WorldError:
                if heard_at is None or time.monotonic() - heard_at > AWAY_S:
                    raise
            else:
                heard_at = time.monotonic()
                yield view
                if not view.open:
                    return
            time.sleep(poll_s)

    def wait(self, *, timeout_s: float | None = None) -> Rollout:
        """Waits until it has ended; TimeoutError after `timeout_s` seconds, while the rollout continues."""
        until = None if timeout_s is None else time.monotonic() + timeout_s
        for view in self.watch():
            if not view.open:
                return view
            if until is not None and time.monotonic() > until:
                raise TimeoutError(f"rollout {self.id} is still {view.status} after {timeout_s} s: {view.counts}")
        raise AssertionError("watch ends only with a rollout that has ended")

    def members(self, *outcomes: str) -> Table[Member]:
        """Returns its members in the order of the plan; with outcomes, only those with one of them."""
        asked = [("outcome", each) for each in outcomes]
        found: list[Member] = []
        while True:
            query = urlencode([*asked, ("limit", str(PAGE)), ("offset", str(len(found)))])
            page = self._transport.get(f"/v1/rollouts/{self.id}/members?{query}")
            found += map(Member.read, page["members"])
            if len(found) >= page["total"] or not page["members"]:
                return Table(found)

    def preview(self, verb: str) -> VerbPreview:
        """Returns the effects of approve, pause, resume, promote, abort or rollback now; changes nothing."""
        return VerbPreview.read(self._transport.post(f"/v1/rollouts/{self.id}/preview?verb={quote(verb)}"))

    def story(self) -> Table[RolloutEvent]:
        """Returns its events, oldest first: the newest 500 events."""
        return Table(map(RolloutEvent.read, self._transport.get(f"/v1/rollouts/{self.id}/events")))

    def compare(self, other: str) -> RolloutComparison:
        """Compares this rollout with another one."""
        return RolloutComparison.read(self._transport.get(f"/v1/rollouts/{self.id}/compare/{quote(other, safe='')}"))

    def retry(self) -> "RolloutHandle":
        """Starts the release again, only on the devices on which this ended rollout failed."""
        return RolloutHandle(self._transport, self._transport.post(f"/v1/rollouts/{self.id}/retry")["id"])

    def discussion(self) -> Discussion:
        """Returns the texts that people wrote about it."""
        return Discussion.read(self._transport.get(self._written))

    def write_note(self, text: str) -> Discussion:
        """Replaces its note; an empty text removes it."""
        return Discussion.read(self._transport.put(f"{self._written}/note", {"text": text}))

    def set_ticket(self, address: str) -> Discussion:
        """Links it with a ticket; an empty address removes the link."""
        return Discussion.read(self._transport.put(f"{self._written}/ticket", {"ticket": address}))

    def comment(self, text: str) -> Discussion:
        """Writes a comment; people named after an @ are notified by an event."""
        return Discussion.read(self._transport.post(f"{self._written}/comments", {"text": text}))

    def ask_review(self, who: str, text: str = "") -> Discussion:
        """Asks a person to look at it; their next comment or approval ends that."""
        return Discussion.read(self._transport.post(f"{self._written}/reviews", {"who": who, "text": text}))

    @property
    def _written(self) -> str:
        return f"/v1/rollouts/{self.id}/discussion"

    def judge(self, *, revert: bool = False) -> Table[Verdict]:
        """Returns what its accuracy rules say now that late labels have come; with `revert` it is rolled back if one
        fails.
        """
        return Table(map(Verdict.read, self._transport.post(f"/v1/rollouts/{self.id}/judge", {"revert": revert})))

    def explain(self) -> Sentences:
        """Says in sentences where it stands and what it waits for."""
        return Sentences.read(self._transport.get(f"/v1/rollouts/{self.id}/explain"))

    def verdicts(self) -> Table[VerdictPoint]:
        """Returns the verdicts of its rules over time, with their numbers, oldest first."""
        return Table(map(VerdictPoint.read, self._transport.get(f"/v1/rollouts/{self.id}/verdicts")))

    def approve(self, plan_digest: str) -> Rollout:
        """Starts a proposed rollout: with it a second person approves the plan."""
        return Rollout.read(self._transport.post(f"/v1/rollouts/{self.id}/approve", {"plan_digest": plan_digest}))

    def pause(self, reason: str = "") -> Rollout:
        """Starts no further device; updates in progress continue."""
        return self._steer("pause", reason)

    def resume(self, reason: str = "") -> Rollout:
        """Continues; present failures and earlier measurements no longer count."""
        return self._steer("resume", reason)

    def promote(self, reason: str = "", *, wave: int | None = None) -> Rollout:
        """Ends the wave now, even before its soak and undecided rules end, or says why not (`rollout_conflict`).

        `wave`, from 0 on, names the wave: without it a wave without any decided device is not ended.
        """
        return self._steer("promote", reason, **({} if wave is None else {"wave": wave}))

    def abort(self, reason: str = "") -> Rollout:
        """Stops; devices that have confirmed the release keep it, all others are rolled back."""
        return self._steer("abort", reason)

    def rollback(self, reason: str = "") -> Rollout:
        """Rolls every changed device back to its last confirmed release."""
        return self._steer("rollback", reason)

    def _steer(self, verb: str, reason: str, **seen: int) -> Rollout:
        return Rollout.read(self._transport.post(f"/v1/rollouts/{self.id}/{verb}", {"reason": reason, **seen}))
