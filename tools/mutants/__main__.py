"""`python -m tools.mutants [--seed N] [--sample N] [--room NAME]`: draws mutants, runs each room's own tests, counts.

Decides the sample and the verdict: exit code 1 when fewer than 85 % are killed. Refuses to know how a mutant is made
(`operators`) or judged (`tree`).
"""

import argparse
import difflib
import sys
import tempfile
import tomllib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from queue import SimpleQueue

from tools.mutants.operators import Mutant, mutants_of
from tools.mutants.tree import Tree

ROOT = Path(__file__).parents[2]
ROOMS = Path(__file__).with_name("rooms.toml")
EQUIVALENT = Path(__file__).with_name("equivalent.toml")

SEED = 20
SAMPLE = 400
WANTED_PERCENT = 85.0
"""The percentage of the whole sample that must be killed; mutants that are named as equivalent count as survivors."""
AT_ONCE = 2
"""Mutants that are tested at the same time: the tests of a room run in one process, and a laptop has two free cores."""
TIMEOUT_FLOOR_S = 30.0
TIMEOUT_TIMES = 5.0
"""A run that takes this many times as long as the unchanged code counts as endless: the mutant is killed."""

Key = tuple[str, str, str, str]
"""(file, operator, lines before, lines after), the lines without their indentation."""


@dataclass(frozen=True)
class Room:
    """A part of the code, and the tests that must find its mutants."""

    name: str
    paths: list[str]
    tests: list[str]

    def mutants(self) -> list[Mutant]:
        """Returns all mutants of the room, in the order of file names."""
        found = []
        for path in sorted(file for each in self.paths for file in _files(ROOT / each)):
            found += mutants_of(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
        return found


@dataclass(frozen=True)
class Drawn:
    """A mutant that is to be tested."""

    room: Room
    mutant: Mutant
    source: str
    before: str
    after: str

    @property
    def key(self) -> Key:
        """The key by which equivalent.toml names the mutant.

        It stays the same as long as the changed lines stay the same.
        """
        return self.mutant.path, self.mutant.operator, _flat(self.before), _flat(self.after)

    def show(self) -> str:
        """Returns file, line, operator and the change, as text."""
        lines = [f"{self.mutant.path}:{self.mutant.line} ({self.mutant.operator})"]
        lines += [f"  - {line}" for line in self.before.splitlines()]
        lines += [f"  + {line}" for line in self.after.splitlines()]
        return "\n".join(lines)


def main() -> int:
    """Draws mutants, tests them, prints the result. Returns the exit code."""
    call = _arguments()
    rooms = [room for room in _rooms() if not call.room or room.name in call.room]
    equivalent = _equivalent()
    drawn = draw(rooms, call.sample, call.seed)
    print(f"{len(drawn)} mutants, seed {call.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="edgeward-mutants-") as scratch:
        alive = judge(rooms, drawn, Path(scratch))
    survivors = [one for one, lives in zip(drawn, alive, strict=True) if lives]
    for one in survivors:
        reason = equivalent.get(one.key)
        print(f"\n{one.show()}\n  {f'equivalent: {reason}' if reason else 'SURVIVED'}")
    for one, lives in zip(drawn, alive, strict=True):
        if not lives and one.key in equivalent:
            print(f"\n{one.show()}\n  named as equivalent, and killed: take it out of {EQUIVALENT.name}")
    unnamed = sum(one.key not in equivalent for one in survivors)
    return show_table(rooms, drawn, survivors, unnamed)


def draw(rooms: list[Room], sample: int, seed: int) -> list[Drawn]:
    """Returns the mutants that come first in an order by hash, listed in the order of the code.

    A mutant's hash depends only on its room, its line and the change. A line that is moved, or added beside it, leaves
    the rest of the sample as it was.
    """
    everything = [(room, mutant) for room in rooms for mutant in room.mutants()]
    seen: Counter[str] = Counter()
    places: list[tuple[str, int]] = []
    for index, (room, mutant) in enumerate(everything):
        name = f"{room.name}\n{mutant.operator}\n{mutant.change()}"
        seen[name] += 1
        places.append((sha256(f"{seed}\n{name}\n{seen[name]}".encode()).hexdigest(), index))
    found: dict[int, Drawn] = {}
    for _, index in sorted(places):
        if len(found) < sample and (one := _drawn(*everything[index])) is not None:
            found[index] = one
    return [found[index] for index in sorted(found)]


def judge(rooms: list[Room], drawn: list[Drawn], scratch: Path) -> list[bool]:
    """Returns for each mutant whether it survives, in order.

    The unchanged code is tested first, to set the time limits.
    """
    trees: SimpleQueue[Tree] = SimpleQueue()
    for number in range(AT_ONCE):
        trees.put(Tree(ROOT, scratch / str(number)))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        timeouts = dict(pool.map(lambda room: (room.name, _timeout_s(trees, room)), _needed(rooms, drawn)))
        return list(pool.map(lambda one: _survives(trees, one, timeouts[one.room.name]), drawn))


def show_table(rooms: list[Room], drawn: list[Drawn], survivors: list[Drawn], unnamed: int) -> int:
    """Prints a line for each room and the sum. Returns the exit code."""
    drawn_of, alive_of = (Counter(one.room.name for one in group) for group in (drawn, survivors))
    print(f"\n{'room':30} {'killed':>7} {'survived':>9} {'%':>6}")
    for room in rooms:
        if drawn_of[room.name]:
            print(_row(room.name, drawn_of[room.name], alive_of[room.name]))
    print(_row("all", len(drawn), len(survivors)))
    percent = 100 * (1 - len(survivors) / max(1, len(drawn)))
    print(f"{unnamed} survivors are not named in {EQUIVALENT.name}; {WANTED_PERCENT:.0f} % asked for")
    return 0 if percent >= WANTED_PERCENT else 1


def _row(name: str, drawn: int, alive: int) -> str:
    return f"{name:30} {drawn - alive:7} {alive:9} {100 * (1 - alive / max(1, drawn)):6.1f}"


def _drawn(room: Room, mutant: Mutant) -> Drawn | None:
    """Returns the mutant with its changed lines; None if the source stays the same or is not valid Python."""
    source, original = mutant.source(), mutant.unchanged
    try:
        compile(source, mutant.path, "exec")
    except SyntaxError:
        return None
    changed = list(difflib.unified_diff(original.splitlines(), source.splitlines(), n=0, lineterm=""))[2:]
    before = "\n".join(line[1:] for line in changed if line.startswith("-"))
    after = "\n".join(line[1:] for line in changed if line.startswith("+"))
    return Drawn(room, mutant, source, before, after) if source != original else None


def _needed(rooms: list[Room], drawn: list[Drawn]) -> list[Room]:
    names = {one.room.name for one in drawn}
    return [room for room in rooms if room.name in names]


def _timeout_s(trees: SimpleQueue[Tree], room: Room) -> float:
    tree = trees.get()
    try:
        passed, took_s = tree.run(room.tests, timeout_s=600.0)
    finally:
        trees.put(tree)
    if not passed:
        raise SystemExit(f"{room.name}: its tests fail on the unchanged code: pytest {' '.join(room.tests)}")
    return max(TIMEOUT_FLOOR_S, TIMEOUT_TIMES * took_s)


def _survives(trees: SimpleQueue[Tree], one: Drawn, timeout_s: float) -> bool:
    tree = trees.get()
    try:
        alive = tree.survives(one.mutant.path, one.source, one.room.tests, timeout_s)
    finally:
        trees.put(tree)
    print("S" if alive else ".", end="", flush=True)
    return alive


def _rooms() -> list[Room]:
    return [Room(name, **room) for name, room in tomllib.loads(ROOMS.read_text(encoding="utf-8"))["rooms"].items()]


def _equivalent() -> dict[Key, str]:
    rows = tomllib.loads(EQUIVALENT.read_text(encoding="utf-8")).get("mutant", [])
    return {(row["file"], row["operator"], _flat(row["before"]), _flat(row["after"])): row["reason"] for row in rows}


def _flat(lines: str) -> str:
    return "\n".join(line.strip() for line in lines.strip().splitlines())


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tools.mutants")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--sample", type=int, default=SAMPLE)
    parser.add_argument("--room", action="append", help="this room alone; may be given several times")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
