"""Simulated flash loses and tears exactly what real flash may, and never what was synced."""

from itertools import pairwise
from random import Random

import pytest

from firmware_sim.flash import Flash
from firmware_sim.power import Power, PowerCut, at, at_random, in_bursts


def after_cut(prepare: object, seed: int) -> Flash:
    flash = Flash(Random(seed))
    prepare(flash)  # type: ignore[operator]
    flash.lose_power()
    return flash


def outcomes(prepare: object, name: str) -> set[bytes | None]:
    found: set[bytes | None] = set()
    for seed in range(200):
        flash = after_cut(prepare, seed)
        found.add(flash.read(name) if name in flash.names() else None)
    return found


def test_a_synced_file_with_a_synced_name_is_never_lost() -> None:
    def prepare(flash: Flash) -> None:
        flash.write("a", b"synced")
        flash.sync("a")
        flash.sync_directory()

    assert outcomes(prepare, "a") == {b"synced"}


def test_an_unsynced_name_may_be_lost() -> None:
    def prepare(flash: Flash) -> None:
        flash.write("a", b"x" * 10)
        flash.sync("a")

    assert outcomes(prepare, "a") == {None, b"x" * 10}


def test_unsynced_content_may_be_kept_lost_or_torn() -> None:
    def prepare(flash: Flash) -> None:
        flash.write("a", b"old" * 400)
        flash.sync("a")
        flash.sync_directory()
        flash.write("a", b"new" * 400)

    found = outcomes(prepare, "a")
    assert {b"old" * 400, b"new" * 400} < found
    assert len(found) > 4


def test_a_rename_is_pending_until_the_directory_is_synced() -> None:
    def prepare(flash: Flash) -> None:
        for name, data in (("a", b"old"), ("tmp", b"new")):
            flash.write(name, data)
            flash.sync(name)
        flash.sync_directory()
        flash.rename("tmp", "a")

    assert outcomes(prepare, "a") == {b"old", b"new"}


def test_a_cut_during_a_write_leaves_a_part_of_it() -> None:
    flash = Flash(Random(1), Power(at(1)))
    with pytest.raises(PowerCut):
        flash.write("a", b"x" * 1000)
    assert flash.power.cuts == 1


def test_random_cuts_are_decided_by_their_seed() -> None:
    def cuts(seed: int) -> list[bool]:
        power = Power(at_random(0.3, Random(seed)))
        return [power.draw() for _ in range(50)]

    assert cuts(7) == cuts(7)
    assert cuts(7) != cuts(8)
    assert any(cuts(7))


def test_a_full_flash_refuses_writes_and_keeps_its_files() -> None:
    flash = Flash(Random(1), capacity_bytes=10)
    flash.write("a", b"12345")
    with pytest.raises(OSError, match="No space"):
        flash.write("b", b"123456")
    assert (flash.free_bytes(), flash.names()) == (5, ["a"])


def test_a_burst_repeats_cuts_shortly_after_a_cut() -> None:
    power = Power(in_bursts(0.02, 5, Random(3)))
    drawn = [power.draw() for _ in range(2000)]
    gaps = [after - before for before, after in pairwise([number for number, cut in enumerate(drawn) if cut])]
    assert sum(gap <= 5 for gap in gaps) > len(gaps) / 3
    assert max(gaps) > 50
