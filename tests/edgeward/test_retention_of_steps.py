"""Results of steps are deleted by age and size, and never if a run refers to them."""

import os
import time
from pathlib import Path

import pytest

from contract.run_record import Artifact, DataUse, PushedVersion, Record
from edgeward.pipelines.job import Outcome, Result
from edgeward.pipelines.results import Results
from edgeward.pipelines.retention import GRACE_S, Dropped, Kept, going, prune
from edgeward.runs.store import BLOBS, RunStore

DAY_S = 86_400.0
NOW = time.time()


def kept(*ages_days: float, size: int = 10) -> list[Kept]:
    return [Kept(f"a{number}", f"b{number}", size, NOW - days * DAY_S) for number, days in enumerate(ages_days)]


def names(found: tuple[list[Kept], list[Kept]]) -> tuple[list[str], list[str]]:
    return [each.address for each in found[0]], [each.address for each in found[1]]


@pytest.mark.parametrize(
    ("needed", "max_bytes", "expected"),
    [
        ((), 1_000, (["a0"], [])),
        ((), 25, (["a0"], ["a1"])),
        ((), 15, (["a0"], ["a1", "a2"])),
        ((), 0, (["a0"], ["a1", "a2"])),
        (("a0", "a1"), 1_000, ([], [])),
        (("a0", "a1"), 25, ([], ["a2"])),
    ],
    ids=["by age", "one by size", "two by size", "what is young stays", "needed for its age", "needed for its size"],
)
def test_the_longest_unused_results_are_deleted_first_and_needed_ones_never(
    needed: tuple[str, ...], max_bytes: int, expected: tuple[list[str], list[str]]
) -> None:
    found = going(kept(40, 20, 10, 0.5), frozenset(needed), NOW, max_age_s=30 * DAY_S, max_bytes=max_bytes)
    assert names(found) == expected


class World:
    """Runs and results on disk."""

    def __init__(self, directory: Path) -> None:
        self.store = RunStore(directory, named=True)
        self.results = Results(self.store)

    def result(self, address: str, value: bytes, age_days: float, **fields: object) -> str:
        digest = self.store.put(value)
        self.results.keep(address, Outcome(Result(blob=digest, **fields), value))  # type: ignore[arg-type]
        at = NOW - age_days * DAY_S
        os.utime(self.store.directory / "steps" / address, (at, at))
        os.utime(self.store.directory / BLOBS / digest, (at, at))
        return digest

    def run(self, number: int, pipeline: str, addresses: str, **fields: object) -> None:
        record = Record(  # type: ignore[arg-type]
            id=f"2026-{number}", name=pipeline, kind="pipeline", started_at=0.0, **{"status": "finished", **fields}
        )
        self.store.hold(record.id).close()
        self.store.save(record)
        steps = ",".join(f'{{"step":"s{each}","status":"done","address":"{each}"}}' for each in addresses)
        (self.store.directory_of(record.id) / "steps.json").write_text(f"[{steps}]")

    def left(self) -> set[str]:
        return {each.name for each in (self.store.directory / "steps").iterdir()}

    def has(self, digest: str) -> bool:
        return (self.store.directory / BLOBS / digest).exists()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_an_old_result_is_deleted_with_its_value_and_one_needed_by_a_run_is_kept(world: World) -> None:
    digests = {each: world.result(each, each.encode(), age_days=60) for each in "abcde"}
    world.run(1, "weather", "a", pushed=(PushedVersion("weather", 1, "d"),))
    world.run(2, "weather", "b")
    world.run(3, "weather", "c")
    world.run(4, "other", "d", status="failed")
    found = prune(world.store)
    assert world.left() == set("acd")
    assert {each for each, digest in digests.items() if world.has(digest)} == set("acd")
    assert (found.results, found.too_old, found.freed_bytes) == (2, 2, 2)
    assert "dropped 2 results of steps (2 unused for too long" in str(found)
    assert prune(world.store) == Dropped()
    assert str(Dropped()) == ""


def test_rows_and_artifacts_named_by_a_run_are_kept_after_their_result_is_deleted(world: World) -> None:
    rows, model = world.store.put(b"rows"), world.store.put(b"model")
    data, artifact = DataUse("rows", rows, 1, {}, rows), Artifact("model", model, 5)
    world.result("a", b"rows", age_days=60, data=(data,), artifacts=(artifact,))
    world.run(1, "weather", "a", data=(data,), artifacts=(artifact,))
    world.run(2, "weather", "")
    assert prune(world.store).results == 1
    assert world.has(rows)
    assert world.has(model)


def test_unreferenced_values_are_deleted_after_a_day_and_a_dry_run_deletes_nothing(world: World) -> None:
    young, old = world.store.put(b"young"), world.store.put(b"old")
    at = NOW - GRACE_S - 60
    os.utime(world.store.directory / BLOBS / old, (at, at))
    assert prune(world.store, dry=True).orphans == 1
    assert world.has(old)
    assert prune(world.store).orphans == 1
    assert (world.has(young), world.has(old)) == (True, False)


def test_a_use_renews_the_age_of_a_result(world: World) -> None:
    world.result("a", b"a", age_days=60)
    assert world.results.find("a") is not None
    assert prune(world.store) == Dropped()


def test_needed_results_over_the_limit_are_reported(world: World) -> None:
    world.result("a", b"a" * 1000, age_days=3)
    world.run(1, "weather", "a")
    found = prune(world.store, max_bytes=100)
    assert (found.results, found.over_bytes) == (0, 900)
    assert "edgeward run delete" in str(found)
