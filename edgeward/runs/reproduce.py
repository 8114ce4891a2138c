"""Repeats a recorded run and says "same digest", or names the cause of the difference.

Decides what an experiment restores and how: code from the commit and its difference, rows and seeds from the record,
libraries from the lock, threads and kernel by the environment. Refuses to know which experiments are needed.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from contract.errors import BadInput, Code, WorldError
from contract.run_differences import Difference, differences
from contract.run_record import Record
from edgeward.runs import restore
from edgeward.runs.factors import Finding, find_causes
from edgeward.runs.repeated import Asked
from edgeward.runs.store import REPRODUCED, RunStore

LIMIT_FACTOR, LIMIT_MIN_S = 10.0, 120.0
"""An experiment may take ten times as long as the recorded run, and at least two minutes: after that it counts as
hanging."""
MAX_LOG_CHARS = 2_000
"""Characters of the last output of an entry that failed."""


@dataclass(frozen=True, slots=True)
class Reproduction:
    """The result of a reproduction. `finding` is None if the first repetition already had the recorded digest."""

    recorded: Record
    repeated: Record
    finding: Finding | None = None
    differences: tuple[Difference, ...] = ()
    repeats_itself: bool = True
    """False: two repetitions under the same conditions differ from each other."""

    @property
    def same(self) -> bool:
        """Whether the repetition has the recorded digest."""
        return bool(self.recorded.result) and self.recorded.result == self.repeated.result

    def sentences(self) -> list[str]:
        """For people: the verdict first."""
        if self.same:
            also = f"; {len(self.differences)} differences did not matter" if self.differences else ""
            return [f"same digest {self.recorded.result[:16]}{also}", *(f"  {each}" for each in self.differences)]
        head = f"another digest: recorded {self.recorded.result[:16]}, now {self.repeated.result[:16]}"
        finding = self.finding
        if finding is not None and finding.causes:
            words = [f"cause: {each}" for each in finding.causes]
            rest = [f"not the cause: {each}" for each in finding.innocent]
            return [head, *words, *rest, f"found by {finding.experiments} experiments"]
        if not self.repeats_itself:
            return [head, "cause: the run does not repeat itself: two repetitions under the same conditions differ",
                    "  seed every generator (run.seed), and look for sets, threads and the time of day"]  # fmt: skip
        known = [f"differs, and restoring it was not enough: {each}" for each in self.differences]
        return [head, "cause: not found among what a run records", *known]


def reproduce(
    store: RunStore,
    run: str,
    *,
    fresh: bool = False,
    recorded_rows: bool = False,
    tell: Callable[[str], None] = lambda words: None,
) -> Reproduction:
    """Repeats a run in this environment, or in a new one made from its lock; searches the cause of another digest.

    With `recorded_rows` every experiment gets the recorded rows: for a data source that still grows.

    BadInput `request_invalid` for a run that made nothing, was started by hand, or whose entry fails now.
    """
    recorded = store.load(run)
    _check(recorded)
    always = frozenset({"data"} if recorded_rows else ())
    with _laboratory(store, recorded, always, tell) as laboratory:
        interpreter = laboratory.fresh_interpreter() if fresh else sys.executable
        first = laboratory.repeat((), interpreter)
        found = tuple(differences(recorded, first))
        if first.result == recorded.result:
            return Reproduction(recorded, first, differences=found)
        tell(f"another digest; {len(found)} things differ, searching")
        finding = find_causes(found, lambda kept: laboratory.repeat(kept, interpreter).result == recorded.result)
        if finding.causes:
            return Reproduction(recorded, first, finding, found)
        again = laboratory.repeat((), interpreter)
        return Reproduction(recorded, first, finding, found, repeats_itself=again.result == first.result)


def _check(recorded: Record) -> None:
    if not recorded.result:
        words = "made no artifact and no model (run.artifact, run.log_model, push): there is nothing to compare"
        raise BadInput(Code.REQUEST_INVALID, f"run {recorded.id} {words}")
    if not recorded.entry.arguments:
        words = "was made by hand, in a notebook or a shell: put it into a script"
        raise BadInput(Code.REQUEST_INVALID, f"run {recorded.id} {words}")


class _Laboratory:
    """Performs repetitions of one run in a scratch directory."""

    def __init__(
        self,
        store: RunStore,
        recorded: Record,
        always: frozenset[str],
        scratch: Path,
        tell: Callable[[str], None],
    ) -> None:
        self._store, self._recorded, self._scratch, self._tell = store, recorded, scratch, tell
        self._always = always
        """Kinds that every experiment restores."""
        self._count = 0

    def fresh_interpreter(self) -> str:
        """Makes an environment from the lock; returns its interpreter."""
        self._tell(f"making an environment of {len(self._recorded.environment.used)} distributions")
        return restore.make_environment(self._recorded, self._scratch / "environment")

    def repeat(self, restored: Sequence[Difference], interpreter: str) -> Record:
        """Runs the entry with `restored` as recorded, everything else at its present value; returns the record of its
        run.
        """
        self._count += 1
        kinds = {each.kind for each in restored} | self._always
        entry = self._recorded.entry
        environment = os.environ | restore.variables(restored, self._recorded)
        path = [str(restore.SOURCES)] if interpreter != sys.executable else []
        if any(each.kind == "library" and each.name != "python" for each in restored):
            overlay = self._scratch / f"libraries{self._count}"
            path = [str(restore.make_overlay(restored, self._recorded, overlay)), *path]
        arguments = list(entry.arguments)
        if "code" in kinds:
            arguments, roots = restore.old_code(self._store, self._recorded, self._scratch / f"code{self._count}")
            path += roots
        runs = self._scratch / f"runs{self._count}"
        asked = Asked(str(self._store.directory), self._recorded.id, tuple(kinds & {"data", "seed"}))
        environment |= {REPRODUCED: msgspec.json.encode(asked).decode(), "EDGEWARD_RUNS_DIR": str(runs)}
        environment["PYTHONPATH"] = os.pathsep.join([*path, os.environ.get("PYTHONPATH", "")]).strip(os.pathsep)
        self._tell(f"experiment {self._count}: {', '.join(sorted(kinds)) or 'nothing'} restored")
        self._perform([interpreter, *arguments], environment)
        return self._record_in(runs)

    def _perform(self, command: list[str], environment: dict[str, str]) -> None:
        recorded_s = max(self._recorded.ended_at - self._recorded.started_at, 0.0)
        limit_s = max(LIMIT_MIN_S, LIMIT_FACTOR * recorded_s)
        log = self._scratch / "log"
        with log.open("wb") as file:
            try:
                done = subprocess.run(  # noqa: S603 - the command that the user has run before
                    command, cwd=self._recorded.entry.directory, env=environment, stdout=file,
                    stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=limit_s, check=False,
                )  # fmt: skip
            except subprocess.TimeoutExpired:
                raise WorldError(Code.REQUEST_INVALID, f"the entry has not ended after {limit_s:.0f} s") from None
            except OSError as error:
                raise BadInput(Code.REQUEST_INVALID, f"{self._recorded.entry.directory}: {error.strerror}") from None
        if done.returncode != 0:
            last = log.read_text(errors="replace").strip()[-MAX_LOG_CHARS:]
            raise BadInput(Code.REQUEST_INVALID, f"the entry ends with {done.returncode} now: {last}")

    def _record_in(self, runs: Path) -> Record:
        store, wanted = RunStore(runs), self._recorded.entry.ordinal
        for record in store.all():
            if record.entry.ordinal == wanted and record.name == self._recorded.name:
                return record
        raise BadInput(Code.REQUEST_INVALID, f"the entry made no run {self._recorded.name!r} this time")


@contextlib.contextmanager
def _laboratory(
    store: RunStore, recorded: Record, always: frozenset[str], tell: Callable[[str], None]
) -> Iterator[_Laboratory]:
    with tempfile.TemporaryDirectory(prefix="edgeward-reproduce-", ignore_cleanup_errors=True) as scratch:
        started = time.monotonic()
        yield _Laboratory(store, recorded, always, Path(scratch), tell)
        tell(f"took {time.monotonic() - started:.1f} s")
