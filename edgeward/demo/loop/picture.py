"""The fleet's accuracy as a picture: a PNG with the events and their times, drawn by Pillow.

Decides scales, colours and words. Refuses to know where the numbers come from.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from contract.errors import BadInput, Code

WIDTH, HEIGHT = 1000, 460
LEFT, RIGHT, TOP, BOTTOM = 80, 30, 84, 60
LOWEST, HIGHEST = 0.0, 1.0
TITLE = "A fleet in its second spring: accuracy of five devices"
AXIS = "seconds since the demo began; accuracy of the newest 8 s of labels; grey: what v1 would have had"
_INK, _GREY, _LINE = (34, 34, 34), (140, 140, 140), (226, 226, 226)
_FALLEN, _RISEN = (192, 57, 43), (31, 119, 180)

Series = Sequence[tuple[float, float]]
"""(seconds, accuracy) in order."""
Mark = tuple[float, str]
"""(seconds, event)."""


def write_picture(series: Series, alone: Series, marks: Sequence[Mark], turns_at: float, path: Path) -> None:
    """Writes a PNG; `alone` is the accuracy that v1 would have had. BadInput `config_invalid` without Pillow."""
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ImportError:
        raise BadInput(Code.CONFIG_INVALID, "a PNG needs Pillow: pip install 'edgeward[images]'") from None
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(15)
    first, last = series[0][0], series[-1][0]

    def place(at_s: float, accuracy: float) -> tuple[float, float]:
        across = (at_s - first) / ((last - first) or 1.0)
        up = (accuracy - LOWEST) / (HIGHEST - LOWEST)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    draw.text((LEFT, 14), TITLE, _INK, ImageFont.load_default(20))
    _draw_axes(draw, font, place, (first, last))
    _draw_marks(draw, font, place, marks)
    ghost = [place(*point) for point in alone]
    for start, end in zip(ghost[::2], ghost[1::2], strict=False):
        draw.line([start, end], _GREY, 2)
    points = [place(*point) for point in series]
    served = marks[-1][0] if marks else last
    for (at_s, _), start, end in zip(series[1:], points, points[1:], strict=False):
        colour = _RISEN if at_s < turns_at or at_s >= served else _FALLEN
        draw.line([start, end], colour, 3)
    image.save(path)


def _draw_axes(draw: Any, font: Any, place: Any, ends: tuple[float, float]) -> None:
    for tenth in range(0, 11, 2):
        accuracy = tenth / 10
        left, height = place(ends[0], accuracy)
        draw.line([(left, height), (WIDTH - RIGHT, height)], _LINE, 1)
        draw.text((LEFT - 12, height), f"{accuracy:.1f}", _GREY, font, anchor="rm")
    for at_s in range(int(ends[0]) // 20 * 20 + 20, int(ends[1]) + 1, 20):
        across, bottom = place(at_s, LOWEST)
        draw.text((across, bottom + 10), f"{at_s} s", _GREY, font, anchor="mt")
    draw.text((LEFT, HEIGHT - 10), AXIS, _GREY, font, anchor="lb")


def _draw_marks(draw: Any, font: Any, place: Any, marks: Sequence[Mark]) -> None:
    """A line for each mark, its words in turn on two rows so that neighbours do not cover each other."""
    for number, (at_s, words) in enumerate(marks):
        across, bottom = place(at_s, LOWEST)
        height = 46 + 18 * (number % 2)
        draw.line([(across, height + 16), (across, bottom)], _GREY, 1)
        anchor = "ra" if across > WIDTH - 160 else "la"
        draw.text((across + (-4 if anchor == "ra" else 4), height), words, _INK, font, anchor=anchor)
