"""Metrics of runs as a picture: in the terminal by characters of two by four dots, and as PNG.

Decides scales and how many columns and rows a picture takes. Refuses to know where the numbers come from.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from contract.errors import BadInput, Code
from contract.run_record import Point

Series = Sequence[tuple[float, float]]
"""(step, value) in order."""
ROWS = 10
LABEL_CHARS = 10
"""Columns for the numbers on the left of a picture."""
MAX_DIGITS = 17
"""Digits that tell any two numbers in float64 apart."""
MAX_SERIES = 8
"""The most lines in one picture: more cannot be distinguished."""
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))


def series_of(points: Sequence[Point]) -> dict[str, list[tuple[float, float]]]:
    """Finite numbers by metric, in the order of their steps."""
    found: dict[str, list[tuple[float, float]]] = {}
    for point in points:
        if math.isfinite(point.value):
            found.setdefault(point.metric, []).append((float(point.step), point.value))
    return {name: sorted(each) for name, each in found.items()}


def picture(series: Series, *, columns: int, rows: int = ROWS) -> list[str]:
    """Draws one series in lines of text; its extremes are on the left, the steps below."""
    low, high = min(value for _, value in series), max(value for _, value in series)
    first, last = series[0][0], series[-1][0]
    named = two_labels(high, low, 4)
    labels = dict(zip((0, rows - 1), named, strict=False))
    margin = max(LABEL_CHARS, *map(len, named))
    width = max(columns - margin - 2, 10)
    cells = [[0] * width for _ in range(rows)]
    for x, y in _joined(series, width * 2, rows * 4, (first, last), (low, high)):
        cells[y // 4][x // 2] |= _DOTS[y % 4][x % 2]
    lines = [
        f"{labels.get(number, ''):>{margin}} ┤" + "".join(chr(0x2800 + cell) for cell in row).rstrip("\u2800")
        for number, row in enumerate(cells)
    ]
    begin, *end = two_labels(first, last, 6)
    below = f"{begin}{end[0]:>{max(width - len(begin), 1)}}" if end else begin
    return [*lines, " " * (margin + 2) + below]


def two_labels(one: float, other: float, digits: int) -> tuple[str, ...]:
    """Returns two numbers as texts, with `digits` digits or as many more as tell them apart; equal numbers once."""
    if one == other:
        return (f"{one:.{digits}g}",)
    texts = ((f"{one:.{more}g}", f"{other:.{more}g}") for more in range(digits, MAX_DIGITS + 1))
    return next(((a, b) for a, b in texts if a != b), (repr(one), repr(other)))


def _joined(
    series: Series, width: int, height: int, steps: tuple[float, float], values: tuple[float, float]
) -> set[tuple[int, int]]:
    """Dots of the series, with a line from each point to the next."""
    spread = (steps[1] - steps[0]) or 1.0, (values[1] - values[0]) or 1.0
    places = [
        (round((step - steps[0]) / spread[0] * (width - 1)), round((values[1] - value) / spread[1] * (height - 1)))
        for step, value in series
    ]
    dots = set(places)
    for (x0, y0), (x1, y1) in pairwise(places):
        count = max(abs(x1 - x0), abs(y1 - y0), 1)
        dots |= {(x0 + (x1 - x0) * at // count, y0 + (y1 - y0) * at // count) for at in range(count)}
    return dots


def write_png(found: Mapping[str, Mapping[str, Series]], path: Path) -> None:
    """Writes one panel for each metric with a line for each run: `found` by metric, then by run.

    BadInput `config_invalid` without matplotlib.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        words = "a PNG needs matplotlib: pip install 'edgeward[plots]'; without --png the plot is printed here"
        raise BadInput(Code.CONFIG_INVALID, words) from None
    figure = Figure(figsize=(8, 2.6 * len(found)), layout="constrained")
    FigureCanvasAgg(figure)
    for number, (metric, runs) in enumerate(found.items(), 1):
        axes = figure.add_subplot(len(found), 1, number)
        for run, series in list(runs.items())[:MAX_SERIES]:
            marker = "o" if len(series) < 30 else ""
            axes.plot([step for step, _ in series], [value for _, value in series], label=run, marker=marker)
        axes.set_title(metric, loc="left")
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize="small")
    figure.savefig(path, dpi=120)
