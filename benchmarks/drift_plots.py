"""One small SVG for each series: the estimate with its interval, the true value, and where the flag was set.

Decides how a plot looks. Refuses to know how figures are made.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.drift import Week

WIDTH, HEIGHT, LEFT, TOP = 760, 200, 36, 26
LOWEST = 0.3


def draw(path: Path, name: str, weeks: "Sequence[Week]") -> None:
    """Writes the plot of one stream."""
    told = [(at, week) for at, week in enumerate(weeks) if week.found.value is not None]
    span = max(1, len(weeks) - 1)
    band = [(at, week.found.high or 0.0) for at, week in told] + [
        (at, week.found.low or 0.0) for at, week in told[::-1]
    ]
    flags = "".join(
        f'<rect x="{_x(at, span):.1f}" y="{TOP + HEIGHT + 4}" width="{WIDTH / span:.2f}" height="6" fill="#d9822b"/>'
        for at, week in enumerate(weeks)
        if not week.found.valid
    )
    alarms = "".join(
        f'<circle cx="{_x(at, span):.1f}" cy="{TOP + 6}" r="3" fill="#c62828"/>'
        for at, week in enumerate(weeks)
        if week.alarm
    )
    scale = "".join(
        f'<text x="{LEFT - 4}" y="{_y(level) + 4:.1f}" text-anchor="end">{level:.1f}</text>'
        f'<line x1="{LEFT}" x2="{LEFT + WIDTH}" y1="{_y(level):.1f}" y2="{_y(level):.1f}" stroke="#ddd"/>'
        for level in (0.4, 0.6, 0.8, 1.0)
    )
    words = f"{name}: accuracy by week. Blue: estimate and interval. Black: truth. Orange: flag up. Red: alarm."
    text = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 8} {TOP + HEIGHT + 14}" '
        f'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="#fff"/>'
        f'<text x="{LEFT}" y="16">{words}</text>{scale}'
        f'<polygon points="{_points(band, span)}" fill="#1f6fb2" fill-opacity="0.2"/>'
        f"{_line([(at, week.truth) for at, week in enumerate(weeks)], span, '#222')}"
        f"{_line([(at, week.found.value or 0.0) for at, week in told], span, '#1f6fb2')}{flags}{alarms}</svg>\n"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _line(points: Iterable[tuple[int, float]], span: int, colour: str) -> str:
    return f'<polyline points="{_points(points, span)}" fill="none" stroke="{colour}" stroke-width="1.2"/>'


def _points(points: Iterable[tuple[int, float]], span: int) -> str:
    return " ".join(f"{_x(at, span):.1f},{_y(level):.1f}" for at, level in points)


def _x(at: int, span: int) -> float:
    return LEFT + WIDTH * at / span


def _y(level: float) -> float:
    return TOP + HEIGHT * (1 - (max(level, LOWEST) - LOWEST) / (1 - LOWEST))
