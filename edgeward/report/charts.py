"""Small pictures in SVG: a bar, and an estimate with its interval against its limit. Pure: takes numbers, returns
text.
"""

import math

WIDTH, HEIGHT = 240, 22
MARGIN = 0.08
"""Fraction of the range, on each side of the outermost mark."""


def bars(value: float, most: float) -> str:
    """Returns a bar whose length is the fraction `value` of `most`."""
    length = WIDTH * value / most if most else 0
    return (
        f'<svg width="{WIDTH}" height="10" role="img" aria-label="{value:g} of {most:g}">'
        f'<rect width="{length:.1f}" height="10" fill="#3b6ea8"/></svg>'
    )


def interval_chart(value: float, low: float, high: float, limit: float, *, is_bad: bool) -> str:
    """The interval as a line, the estimate as a dot, the limit as a dashed line; red for a verdict that failed."""
    marks = [each for each in (value, low, high, limit, 0.0) if math.isfinite(each)]
    first, last = min(marks), max(marks)
    span = (last - first) or 1.0
    first, span = first - MARGIN * span, span * (1 + 2 * MARGIN)

    def x(mark: float) -> float:
        place = (mark - first) / span if math.isfinite(mark) else (1.0 if mark > 0 else 0.0)
        return WIDTH * min(1.0, max(0.0, place))

    colour, middle = "#b42318" if is_bad else "#3b6ea8", HEIGHT / 2
    return (
        f'<svg width="{WIDTH}" height="{HEIGHT}" role="img" '
        f'aria-label="{value:.3g}, interval {low:.3g} to {high:.3g}, limit {limit:.3g}">'
        f'<line x1="{x(0):.1f}" x2="{x(0):.1f}" y1="0" y2="{HEIGHT}" stroke="#d8dee4"/>'
        f'<line x1="{x(limit):.1f}" x2="{x(limit):.1f}" y1="0" y2="{HEIGHT}" stroke="#5c6773" stroke-dasharray="3 2"/>'
        f'<line x1="{x(low):.1f}" x2="{x(high):.1f}" y1="{middle}" y2="{middle}" stroke="{colour}" stroke-width="3"/>'
        f'<circle cx="{x(value):.1f}" cy="{middle}" r="4" fill="{colour}"/></svg>'
    )
