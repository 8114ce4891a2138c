"""Probes of the session that answers by its golden set: at once after it was loaded, then every week or so.

Decides when a probe is due, when the device is too hot or too busy for one, how much of the processor one takes, and
how one that has waited for days runs beside requests. Refuses to know what follows from a miss: the machine decides
that.
"""

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from weakref import ReferenceType, ref

import msgspec

from agent.core.model import Assignment
from agent.ports import Runtime, Session
from agent.serving.serving import Serving
from contract.errors import EdgewardError
from contract.golden import too_many
from contract.messages import GoldenProbe
from contract.protocol import MAX_DETAIL_CHARS

SLICE_S = 0.05
"""Seconds for which a probe runs before each pause: it runs in the agent's own thread, and heartbeats wait for it."""
CPU_RATIO = 0.1
"""The fraction of one core that a probe takes over its whole length."""
BUSY_RATIO = 0.5
"""The process is busy if it used more than this fraction of one core between two checks; then the probe waits."""
LOOK_S = 30.0
"""Seconds between two checks whether the device is cool and idle enough for a probe that is due."""
OVERDUE_S = 3 * 86_400.0
"""Seconds for which a probe that is due waits for a cool and idle device. Then it runs in single rows between requests,
because a device that is never idle would never be probed. With the longest default interval it still ends before an
attestation calls its result old, after `contract.attestation.MAX_PROBE_AGE_S`."""
GAP_LOOK_S = 0.02
"""Seconds between two looks for a moment without a request, which a row of an overdue probe waits for."""
MAX_GAP_LOOKS = 50
"""Looks for such a moment, one second in total. Then the row runs beside a request: some devices always answer one."""
AGAIN_S = 3600.0
"""Seconds until the next probe after one that failed, or that could not be made."""
SPREAD = 0.5
"""Intervals of devices differ by up to this fraction: then devices that start together do not probe together."""
DAY_S = 86_400.0
MAX_ENDED = 4
"""Versions whose newest probe is remembered: stable, a trial, and those before them."""


class ProbeSchedule(msgspec.Struct, frozen=True):
    """The settings that decide when the session that answers is probed again."""

    interval_s: float = 7 * 86_400.0
    hot_c: float = 70.0
    """Degrees Celsius. A device that is at least so hot is not probed until its probe is overdue."""
    spread: float = 0.5
    """The device's own number from 0 to 1."""
    is_held: Callable[[], bool] = bool
    """Whether an application requests that no probe runs."""

    @property
    def next_s(self) -> float:
        """Returns the seconds until the next probe after one that passed; on average over devices, the interval."""
        return self.interval_s * (1 + SPREAD * (self.spread - 0.5))


class Miss(msgspec.Struct, frozen=True):
    """A session that does not answer its golden set as at conversion."""

    assignment: Assignment
    session: Session
    detail: str


@dataclass
class GoldenProbes:
    """The probes of one model. `perf_s` is a monotonic clock for short times, `date_s` gives seconds since 1970.

    A session has only a weak reference here: an unloaded one must be freed at once, to make room.
    """

    runtime: Runtime
    schedule: ProbeSchedule
    read: Callable[[Assignment], bytes]
    """Returns the golden set of a version. EdgewardError if it is damaged or missing."""
    perf_s: Callable[[], float]
    date_s: Callable[[], float]
    ended: dict[str, GoldenProbe] = field(default_factory=dict)
    """The newest probe of a session of a version, by the version's digest."""
    _session: ReferenceType[Session] | None = None
    _is_first: bool = True
    """Whether the session has not been probed since it was loaded: a rollout waits for that, so a probe does not."""
    _due_at: float = 0.0
    """When to continue: with a probe, or with looking whether the device is cool and idle."""
    _wanted_at: float = 0.0
    """When the next probe, or the one that runs, became due."""
    _ended_at: float = 0.0
    """When the newest probe ended, or the session was loaded."""
    _obstacle: str = ""
    """Why even an overdue probe cannot begin, in words; empty if nothing prevents it."""
    _gap_looks: int = 0
    _steps: Generator[None, None, int] | None = None
    _used: tuple[float, float] | None = None
    """Monotonic seconds and the CPU seconds of this process at the newest look."""

    def wake_at(self) -> float:
        """Returns when `tick` is due; infinity for never."""
        return self._due_at if self._session is not None else math.inf

    def overdue(self, now: float) -> str:
        """Says in words why a probe is overdue and still cannot run; empty if none is, or if it can run."""
        if self._session is None or not self._obstacle or not self._is_overdue(now):
            return ""
        return f"no golden probe for {(now - self._ended_at) / DAY_S:.0f} days: {self._obstacle}"

    def abandon(self) -> None:
        """Ends a probe that has begun: another version is loaded, and the session may have to be freed for it."""
        self._session, self._steps = None, None

    def tick(self, serving: Serving | None, now: float) -> Miss | None:
        """Continues the probe of the version that answers; returns it if it has ended with a miss."""
        if serving is None:
            self.abandon()
            return None
        if self._session is None or self._session() is not serving.session:
            self._begin_with(serving.session, now)
        if now < self._due_at:
            return None
        if self._steps is None and not self._start(serving, now):
            return None
        if self._waits_for_a_gap(serving, now):
            return None
        return self._go_on(serving, now)

    def _begin_with(self, session: Session, now: float) -> None:
        self._session, self._steps, self._used = ref(session), None, None
        self._is_first, self._due_at, self._wanted_at, self._ended_at = True, now, now, now
        self._obstacle = ""

    def _is_overdue(self, now: float) -> bool:
        return now - self._wanted_at >= OVERDUE_S

    def _start(self, serving: Serving, now: float) -> bool:
        if not self._is_first and not self._may_start(now):
            self._due_at = now + LOOK_S
            return False
        assignment = serving.assignment
        try:
            golden = self.read(assignment)
        except EdgewardError:  # the test of the blobs on flash finds it, and they are fetched again
            self._due_at, self._obstacle = now + AGAIN_S, "its golden set cannot be read from flash"
            return False
        self._obstacle = ""
        self._steps = self.runtime.answer_golden(serving.session, assignment.manifest, golden)
        return True

    def _may_start(self, now: float) -> bool:
        """Whether no application holds it, and the device is cool and idle or has not been for too long."""
        is_quiet, is_held = self._is_quiet(now), self.schedule.is_held()
        self._obstacle = "an application holds updates" if is_held else ""
        return not is_held and (is_quiet or self._is_overdue(now))

    def _is_quiet(self, now: float) -> bool:
        """Whether the device is cool, and this process has been idle since the check before."""
        usage, before = self.runtime.usage(), self._used
        self._used = now, usage.cpu_s
        if before is None or now <= before[0]:
            return False
        is_hot = usage.temperature_c is not None and usage.temperature_c >= self.schedule.hot_c
        return not is_hot and usage.cpu_s - before[1] <= BUSY_RATIO * (now - before[0])

    def _waits_for_a_gap(self, serving: Serving, now: float) -> bool:
        """Whether the next row of an overdue probe waits for a moment without a request."""
        if not self._is_overdue(now) or not serving.in_flight or self._gap_looks >= MAX_GAP_LOOKS:
            self._gap_looks = 0
            return False
        self._gap_looks, self._due_at = self._gap_looks + 1, now + GAP_LOOK_S
        return True

    def _go_on(self, serving: Serving, now: float) -> Miss | None:
        """Runs the probe for SLICE_S, or one row of it if it is overdue, and notes the result at its end."""
        assert self._steps is not None
        began_s, rows = self.perf_s(), serving.assignment.manifest.golden.rows
        slice_s = 0.0 if self._is_overdue(now) else SLICE_S
        try:
            next(self._steps)
            while (took_s := self.perf_s() - began_s) < slice_s:
                next(self._steps)
        except StopIteration as end:
            return self._end(serving, int(end.value), f"{end.value} of {rows} golden rows differ", now)
        except Exception as error:  # a runtime's exceptions share no base class, and a session that raises is wrong
            return self._end(serving, rows, f"golden inputs: {type(error).__name__}: {error}", now)
        self._due_at = now + took_s / CPU_RATIO
        return None

    def _end(self, serving: Serving, missed: int, detail: str, now: float) -> Miss | None:
        assignment, self._steps, self._used, self._is_first = serving.assignment, None, None, False
        manifest = assignment.manifest
        passed = not too_many(missed, manifest)
        self.ended.pop(assignment.digest, None)
        self.ended[assignment.digest] = GoldenProbe(
            digest=assignment.digest,
            golden=manifest.golden.blob.sha256,
            at=max(0, int(self.date_s())),
            rows=manifest.golden.rows,
            missed=missed,
            passed=passed,
        )
        while len(self.ended) > MAX_ENDED:
            del self.ended[next(iter(self.ended))]
        self._due_at = self._wanted_at = now + (self.schedule.next_s if passed else AGAIN_S)
        self._ended_at = now
        return None if passed else Miss(assignment, serving.session, detail[:MAX_DETAIL_CHARS])
