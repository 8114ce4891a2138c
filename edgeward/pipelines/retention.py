"""Deletes results of steps, so that the storage of pipelines does not grow forever.

Decides by age since the last use and by size, the longest unused first. Never deletes a blob that the record of a
run names (rows, artifacts, scripts), or results of a run that continues, that has pushed a version, or that is the
newest of its pipeline. A deleted result is computed again when a step needs it. Refuses to know what values are.
"""

import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from contract.errors import BadInput
from contract.run_record import Record
from edgeward.pipelines.job import Result
from edgeward.pipelines.results import STEPS
from edgeward.runs.store import BLOBS, RunStore

MAX_AGE_S = 30 * 86_400.0
"""Seconds since the last use of a result: a pipeline that runs once a month still has its results."""
MAX_BYTES = 10 << 30
"""The bytes of values that may be deleted: a tenth of a workstation's disk."""
GRACE_S = 86_400.0
"""Seconds. Newer files are not deleted automatically: another run may have written one and not named it yet."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One result on disk: its address, the blob with its value, its size, and when it was used last."""

    address: str
    blob: str
    size_bytes: int
    used_at: float
    """Seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """The deleted results, and the size above the limit that remains."""

    results: int = 0
    too_old: int = 0
    """The results beyond the age limit. The others are deleted for their size."""
    orphans: int = 0
    """Blobs that no result and no run named any more."""
    freed_bytes: int = 0
    over_bytes: int = 0
    """The bytes by which the results that runs need exceed the limit."""

    def __str__(self) -> str:
        """Returns words; empty if nothing was deleted and nothing is too large."""
        said = []
        if self.results or self.orphans:
            said.append(
                f"dropped {self.results} results of steps ({self.too_old} unused for too long, "
                f"{self.results - self.too_old} beyond the size) and {self.orphans} files that nothing named: "
                f"{self.freed_bytes / 1e6:.1f} MB"
            )
        if self.over_bytes:
            said.append(
                f"results that runs need are {self.over_bytes / 1e6:.1f} MB beyond the limit: edgeward run delete"
            )
        return "; ".join(said)


NOTHING = Dropped()


def going(
    kept: Sequence[Kept], needed: frozenset[str], now: float, *, max_age_s: float, max_bytes: int
) -> tuple[list[Kept], list[Kept]]:
    """(results to delete for their age, those to delete for the total size). `needed` are addresses that stay."""
    free = sorted((each for each in kept if each.address not in needed), key=lambda each: (each.used_at, each.address))
    old = [each for each in free if now - each.used_at > max_age_s]
    size = sum(each.size_bytes for each in kept) - sum(each.size_bytes for each in old)
    large = []
    for each in free[len(old) :]:
        if size <= max_bytes or now - each.used_at <= min(GRACE_S, max_age_s):
            break
        large.append(each)
        size -= each.size_bytes
    return old, large


def prune(
    store: RunStore,
    *,
    max_age_s: float = MAX_AGE_S,
    max_bytes: int = MAX_BYTES,
    now: float | None = None,
    dry: bool = False,
) -> Dropped:
    """Deletes results and blobs above the limits; `dry` only lists them."""
    now = time.time() if now is None else now
    records = list(store.all())
    kept, named = _kept(store), _named(records)
    needed = frozenset(_needed(store, records))
    old, large = going(kept, needed, now, max_age_s=max_age_s, max_bytes=max_bytes)
    gone = {each.address for each in (*old, *large)}
    stay = [each for each in kept if each.address not in gone]
    named |= {digest for each in stay for digest in _digests(store, each.address)}
    of_results = {each.blob for each in (*old, *large)}
    orphans = [
        each for each in _blobs(store)
        if each.name not in named and (each.name in of_results or now - each.stat().st_mtime > GRACE_S)
    ]  # fmt: skip
    freed = sum(each.stat().st_size for each in orphans)
    if not dry:
        for address in gone:
            (store.directory / STEPS / address).unlink(missing_ok=True)
        for each in orphans:
            each.unlink(missing_ok=True)
    over = sum(each.size_bytes for each in stay if each.address in needed) - max_bytes
    return Dropped(
        len(gone), len(old), sum(each.name not in of_results for each in orphans), freed, max(0, over)
    )  # fmt: skip


def _kept(store: RunStore) -> list[Kept]:
    found = []
    for path in sorted((store.directory / STEPS).glob("*")):
        result = _result(path)
        blob = store.directory / BLOBS / (result.blob if result is not None else "")
        size = blob.stat().st_size if result is not None and blob.is_file() else 0
        found.append(Kept(path.name, result.blob if result is not None else "", size, path.stat().st_mtime))
    return found


def _result(path: Path) -> Result | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Result)
    except (OSError, msgspec.MsgspecError):
        return None


def _needed(store: RunStore, records: Sequence[Record]) -> Iterable[str]:
    """Addresses of results of runs that continue, have pushed, or are the newest of their pipeline."""
    from edgeward.pipelines.runner import load_steps

    seen: set[str] = set()
    for record in records:  # newest first
        if record.kind != "pipeline":
            continue
        if record.name not in seen or record.pushed or record.status == "running":
            seen.add(record.name)
            with suppress(BadInput):  # a run that ended before its first step
                yield from (each.address for each in load_steps(store, record.id)[1] if each.address)


def _named(records: Iterable[Record]) -> set[str]:
    """Blobs that records of runs name themselves."""
    found: set[str] = set()
    for record in records:
        found |= {each.kept_sha256 for each in record.data} | {each.sha256 for each in record.artifacts}
        found |= {record.entry.script_sha256, record.code.diff_sha256 if record.code is not None else ""}
    return found


def _digests(store: RunStore, address: str) -> set[str]:
    result = _result(store.directory / STEPS / address)
    if result is None:
        return set()
    rows = {each.kept_sha256 for each in result.data}
    return {result.blob} | rows | {each.sha256 for each in result.artifacts}


def _blobs(store: RunStore) -> list[Path]:
    directory = store.directory / BLOBS
    return [each for each in directory.iterdir() if each.is_file()] if directory.is_dir() else []
