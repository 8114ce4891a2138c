"""Rows of a benchmark, and how they are printed and compared with goals."""

import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnxruntime


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison. `goal` is the highest allowed ratio, or the lowest with `at_least`; None: the row is only
    printed.
    """

    what: str
    ours: float
    yardstick: float
    unit: str
    yardstick_is: str
    goal: float | None = None
    at_least: bool = False
    absolute: bool = False
    """Whether the goal is for Edgeward's own value, without the yardstick."""

    @property
    def ratio(self) -> float:
        """Returns Edgeward's value divided by the yardstick; for a yardstick of zero, the value itself."""
        return self.ours / self.yardstick if self.yardstick else self.ours

    @property
    def met(self) -> bool | None:
        """Returns whether the goal is met; None without a goal."""
        if self.goal is None:
            return None
        figure = self.ours if self.absolute else self.ratio
        return figure >= self.goal if self.at_least else figure <= self.goal


def show(title: str, rows: Sequence[Row]) -> None:
    """Prints the table, with the machine and the commit on which it was measured."""
    print(f"\n{title}\n{where()}")
    lines = [("what", "ours", "yardstick", "ratio", "goal", "met", "yardstick is")]
    for row in rows:
        sign = ">=" if row.at_least else "<="
        goal = "-" if row.goal is None else f"{sign} {row.goal:g}"
        met = {None: "-", True: "yes", False: "NO"}[row.met]
        figures = (f"{row.ours:.4g} {row.unit}", f"{row.yardstick:.4g} {row.unit}", f"{row.ratio:.2f}")
        lines.append((row.what, *figures, goal, met, row.yardstick_is))
    widths = [max(len(line[column]) for line in lines) for column in range(7)]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def where() -> str:
    """Returns the machine, the versions of Python and onnxruntime, and the commit."""
    root = Path(__file__).parents[1]
    described = ["git", "-C", str(root), "describe", "--always", "--dirty"]
    commit = subprocess.run(described, capture_output=True, text=True, check=False).stdout.strip()
    model = next((line.partition(": ")[2] for line in _cpuinfo() if line.startswith("model name")), platform.machine())
    cpus = sum(line.startswith("processor") for line in _cpuinfo())
    return (
        f"{cpus} x {model}, Python {platform.python_version()}, onnxruntime {onnxruntime.__version__}, commit {commit}"
    )


def _cpuinfo() -> list[str]:
    return Path("/proc/cpuinfo").read_text().splitlines()
