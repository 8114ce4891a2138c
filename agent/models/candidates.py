"""Candidates: models that this device probes for the controller and that never serve. One at a time, and a limited
number per hour.

Decides when this device refuses: while it fetches or tries a version, with too little memory, or after its owner's
limit. A candidate is not a version: it was never released, so its probe must be fully confined, no record names it,
and its bytes are deleted after the probe. Refuses to know what the numbers are for.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from agent.core.events import FetchDone, FetchFailed
from agent.core.model import Assignment
from agent.flash.store import Store
from agent.ports import ProbeReport, Runtime
from agent.stimuli import CandidateProbed, LookedInto, Stimulus
from agent.transfer.download import Download, Result
from agent.uplink.inquiries import Inquiries, Replies, check_asked
from contract.desired import TrialPolicy
from contract.errors import Code, WorldError
from contract.inquiries import Inquiry, Probed
from contract.manifest import Manifest

HOUR_S = 3600.0
FETCH_S = 60.0
"""Seconds for the bytes of a candidate: a megabyte over a slow link. After that the candidate is dropped."""
MAX_KEPT_IDS = 64
"""Ids of inquiries that are not answered again; they expire long before 64 others are signed."""
CONFINED = TrialPolicy(require_sandbox=True)


@dataclass(slots=True)
class _Open:
    """The candidate that is fetched or probed now."""

    inquiry: Inquiry
    download: Download
    give_up_at: float
    probing: bool = False


class Candidates:
    """The candidates of one device. `is_busy` says whether an update is running; `kept` names blobs in use."""

    def __init__(
        self,
        replies: Replies,
        *,
        store: Store,
        runtime: Runtime,
        new_download: Callable[[Assignment], Download],
        enqueue: Callable[[Stimulus], None],
        is_busy: Callable[[], bool],
        kept: Callable[[], set[str]],
        probes_per_h: int,
    ) -> None:
        self._replies, self._store, self._runtime = replies, store, runtime
        self._new_download, self._enqueue = new_download, enqueue
        self._is_busy, self._kept = is_busy, kept
        self._per_h = probes_per_h
        self._begun: deque[float] = deque(maxlen=max(1, probes_per_h))
        self._seen: deque[str] = deque(maxlen=MAX_KEPT_IDS)
        self._open: _Open | None = None

    def take(self, inquiry: Inquiry, date_s: float, now: float) -> None:
        """Begins to fetch a candidate, or reports why it does not. BadInput as `check_asked`."""
        check_asked(inquiry, self._replies.device, date_s)
        if inquiry.id in self._seen or inquiry.candidate is None:
            return
        self._seen.append(inquiry.id)
        if why := self._refusal(inquiry.candidate, now):
            self._replies.send(inquiry.id, probed=Probed(code=Code.BUSY, detail=why))
            return
        self._begun.append(now)
        assignment = Assignment(model="candidate", generation=1, manifest=inquiry.candidate, policy=CONFINED)
        self._open = _Open(inquiry, self._new_download(assignment), now + FETCH_S)
        self._fetched(self._open.download.start(now))

    def _refusal(self, candidate: Manifest, now: float) -> str:
        """Returns why a candidate is not probed now; empty if it is probed."""
        if not self._per_h:
            return "its owner allows no probes of candidates: serving.probes_per_h"
        if self._open is not None:
            return "it is probing another candidate"
        if self._is_busy():
            return "it is fetching or trying a version"
        if len(self._begun) == self._per_h and now - self._begun[0] < HOUR_S:
            return f"it has probed {self._per_h} candidates within the last hour: serving.probes_per_h"
        if (free_mb := self._runtime.free_mb()) < candidate.limits.memory_mb:
            return f"it has {free_mb:.0f} MB free, and a probe may take {candidate.limits.memory_mb}"
        return ""

    def wants(self, digest: str) -> bool:
        """Whether a blob is being fetched for a candidate."""
        return self._open is not None and not self._open.probing and self._open.download.wants(digest)

    def receive(self, digest: str, index: int | None, payload: bytes, now: float) -> None:
        """Handles a chunk of the candidate."""
        assert self._open is not None
        self._fetched(self._open.download.receive(digest, index, payload, now))

    def link_up(self, now: float) -> None:
        """Requests missing chunks again."""
        if self._open is not None and not self._open.probing:
            self._fetched(self._open.download.link_up(now))

    def tick(self, now: float) -> None:
        """Continues a fetch. Ends it if a version must be fetched in the meantime, or if it takes too long."""
        if self._open is None or self._open.probing:
            return
        if self._is_busy():
            self._end(Probed(code=Code.BUSY, detail="a version came meanwhile"))
        elif now >= self._open.give_up_at:
            self._end(Probed(code=Code.TRANSFER_STALLED, detail=f"its bytes did not come within {FETCH_S:.0f} s"))
        else:
            self._fetched(self._open.download.tick(now))

    def wake_at(self) -> float:
        """When `tick` is due; infinity without a fetch."""
        if self._open is None or self._open.probing:
            return float("inf")
        due = self._open.download.wake_at()
        return self._open.give_up_at if due is None else min(due, self._open.give_up_at)

    def probed(self, identifier: str, report: ProbeReport) -> None:
        """Reports the measurements."""
        if self._open is not None and self._open.inquiry.id == identifier:
            self._end(
                Probed(
                    code=report.code, detail=report.detail[:300], load_ms=report.load_ms,
                    latency_us_p50=1000 * report.latency_ms, memory_mb=max(0.0, report.memory_mb),
                    sandbox=report.sandbox,
                )
            )  # fmt: skip

    def _fetched(self, result: Result) -> None:
        """Begins the probe once all bytes have arrived."""
        match result:
            case FetchFailed() as failed:
                self._end(Probed(code=failed.code, detail=failed.detail[:300]))
            case FetchDone() if self._open is not None:
                self._open.probing = True
                assignment, identifier = self._open.download.assignment, self._open.inquiry.id
                golden, artifact = (self._store.path(blob) for blob in assignment.blobs)
                enqueue = self._enqueue
                self._runtime.probe(
                    assignment, artifact, golden, lambda report: enqueue(CandidateProbed(identifier, report))
                )
            case _:
                pass

    def _end(self, probed: Probed) -> None:
        """Answers, and deletes the fetched blobs. If the disk refuses, the next pruning deletes them."""
        opened, self._open = self._open, None
        assert opened is not None
        opened.download.cancel()
        kept = self._kept()
        for blob in opened.download.assignment.blobs:
            try:
                if blob.sha256 not in kept:
                    self._store.discard(blob)
            except WorldError:
                pass
        self._replies.send(opened.inquiry.id, probed=probed)


class Asked:
    """All inquiries of one device: about itself, and about candidates."""

    def __init__(self, inquiries: Inquiries, candidates: Candidates) -> None:
        self._inquiries = inquiries
        self.candidates = candidates

    def take(self, inquiry: Inquiry, date_s: float, now: float) -> None:
        """Begins to answer an inquiry that the director has signed. BadInput as `check_asked`."""
        part = self.candidates if inquiry.what == "probe" else self._inquiries
        part.take(inquiry, date_s, now)

    def found(self, what: LookedInto | CandidateProbed) -> None:
        """Sends the result."""
        match what:
            case LookedInto(identifier, lines):
                self._inquiries.answer(identifier, lines)
            case CandidateProbed(identifier, report):
                self.candidates.probed(identifier, report)
