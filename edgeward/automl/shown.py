"""A search for people: the front as rows of a table, a plot in characters, and a picture.

Decides the axes: the score upwards, bytes to the right on a logarithmic scale. Refuses to know what was searched.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from contract.errors import BadInput, Code
from edgeward.automl.search import Search
from edgeward.automl.trial import Trial

MAX_SHOWN = 12
"""Rows of the front that are printed; `--json` has all."""
ROWS, COLUMNS = 12, 64
_FRONT, _OTHER, _BEST = "o", ".", "@"
COLUMNS_OF_FRONT = ("trial", "family", "score", "bytes", "us", "MB", "on", "limits")
CONTROLLER = "controller"
"""The name of the place for measurements of the controller."""


def front_rows(found: Search) -> list[tuple[object, ...]]:
    """One row for each trial of the front, best score first; the chosen one is marked."""
    chosen = found.best
    rows: list[tuple[object, ...]] = []
    for each in found.front[:MAX_SHOWN]:
        beyond = found.limits.beyond(each)
        fits = "chosen" if each is chosen else "fits" if not beyond else f"too much: {', '.join(beyond)}"
        score = f"{each.score:.4f}"
        rows.append(
            (
                each.number,
                each.family,
                score,
                each.size_bytes,
                f"{each.latency_us_p50:.0f}",
                f"{each.load_mb:.1f}",
                each.device or CONTROLLER,
                fits,
            )
        )
    return rows


def sentences(found: Search) -> list[str]:
    """Describes the result of the search in words."""
    states = [each.state for each in found.trials]
    counts = ", ".join(
        f"{states.count(state)} {state}" for state in ("measured", "skipped", "failed") if state in states
    )
    lines = [f"{len(found.trials)} trials in {found.took_s:.0f} s ({counts}); {found.rows.split}; search {found.id}"]
    best = found.best
    if best is None:
        lines.append(_nothing_fits(found))
        return lines
    p95 = f" (p95 {best.latency_us_p95:.0f})" if best.latency_us_p95 else ""
    lines.append(
        f"chosen: {best.family}, score {best.score:.4f} (standard error {found.error_of(best):.4f}), "
        f"{best.size_bytes} bytes, {best.latency_us_p50:.0f} us a row{p95}, "
        f"{best.load_mb:.1f} MB to load on {best.device or 'the machine of the controller'}, run {best.run}"
    )
    if found.teacher is not None and best.agreement is not None:
        lost = found.teacher.score - best.score
        lines.append(
            f"teacher: score {found.teacher.score:.4f}; the student agrees with {best.agreement:.4f} and "
            + (f"loses {lost:.4f}" if lost > 0 else f"gains {-lost:.4f}")
        )
    return lines


def _nothing_fits(found: Search) -> str:
    measured = [each for each in found.trials if each.state == "measured"]
    if not measured:
        reasons = sorted({each.reason for each in found.trials if each.reason})
        return f"no trial was measured: {reasons[0] if reasons else 'give it more time (--minutes)'}"
    smallest = min(measured, key=lambda each: each.size_bytes)
    fastest = min(measured, key=lambda each: each.latency_us_p50)
    return (
        f"no trial keeps to the limits: the smallest has {smallest.size_bytes} bytes, the fastest takes "
        f"{fastest.latency_us_p50:.0f} us; search longer or loosen --max-bytes, --max-latency-us"
    )


def plot_lines(found: Search) -> list[str]:
    """The measured trials by bytes and score, in characters: `o` on the front, `@` chosen, `.` the others."""
    measured = [each for each in found.trials if each.state == "measured"]
    if not measured:
        return []
    xs, ys = [math.log10(each.size_bytes) for each in measured], [each.score for each in measured]
    cells = [[" "] * COLUMNS for _ in range(ROWS)]
    front = {each.number for each in found.front}
    best = found.best
    marks = [_mark(each, front, best) for each in measured]
    for mark in (_OTHER, _FRONT, _BEST):  # more important marks are drawn over others
        for each, x, y in zip(marks, xs, ys, strict=True):
            if each == mark:
                cells[_place(max(ys) - y, max(ys) - min(ys), ROWS)][_place(x - min(xs), max(xs) - min(xs), COLUMNS)] = (
                    mark
                )
    labels = {0: f"{max(ys):.4f}", ROWS - 1: f"{min(ys):.4f}"}
    lines = [f"{labels.get(number, ''):>9} |{''.join(row).rstrip()}" for number, row in enumerate(cells)]
    low, high = (f"{10**edge:,.0f}" for edge in (min(xs), max(xs)))
    lines.append(f"{'':>9} +{'-' * COLUMNS}")
    lines.append(f"{'':>11}{low}{high + ' bytes':>{COLUMNS - len(low)}}")
    lines.append(f"{'':>11}score by bytes (logarithmic): {_BEST} chosen, {_FRONT} front, {_OTHER} measured")
    return lines


def write_png(found: Search, path: Path) -> None:
    """Writes two panels: score by bytes, and score by latency, with the limits. BadInput without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        words = "a PNG needs matplotlib: pip install 'edgeward[plots]'; without --png the front is printed here"
        raise BadInput(Code.CONFIG_INVALID, words) from None
    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    measured = [each for each in found.trials if each.state == "measured"]
    front = found.front
    panels = (("size_bytes", "bytes of the ONNX form", found.limits.max_bytes),
              ("latency_us_p50", "microseconds a row (median)", found.limits.max_latency_us_p50))  # fmt: skip
    for number, (name, label, limit) in enumerate(panels, 1):
        axes = figure.add_subplot(1, 2, number)
        _scatter(axes, measured, name, "#9aa5b1", "measured")
        _scatter(axes, front, name, "#3b6ea8", "front")
        _scatter(axes, [found.best] if found.best else [], name, "#b42318", "chosen")
        if limit is not None:
            axes.axvline(limit, color="#5c6773", linestyle="--", linewidth=1, label="limit")
        axes.set_xscale("log")
        axes.set_xlabel(label)
        axes.set_ylabel("score")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize="small")
    figure.savefig(path, dpi=120)


def plain(found: Search) -> dict[str, Any]:
    """All trials as JSON."""
    best, front = found.best, {each.number for each in found.front}
    return {
        "search": found.id,
        "task": found.rows.task,
        "split": found.rows.split,
        "seed": found.seed,
        "took_s": round(found.took_s, 2),
        "limits": {
            "max_bytes": found.limits.max_bytes,
            "max_latency_us_p50": found.limits.max_latency_us_p50,
            "max_memory_mb": found.limits.max_memory_mb,
        },
        "teacher_score": None if found.teacher is None else found.teacher.score,
        "chosen": None if best is None else best.number,
        "trials": [_plain(each, on_front=each.number in front) for each in found.trials],
    }


def _plain(trial: Trial, *, on_front: bool) -> dict[str, Any]:
    fields = {name: getattr(trial, name) for name in trial.__dataclass_fields__ if name != "pipeline"}
    return {**fields, "fold_scores": list(trial.fold_scores), "front": on_front}


def _scatter(axes: Any, trials: Sequence[Trial], name: str, colour: str, label: str) -> None:
    axes.scatter(
        [getattr(each, name) for each in trials], [each.score for each in trials], s=24, color=colour, label=label
    )


def _mark(trial: Trial, front: set[int], best: Trial | None) -> str:
    if best is not None and trial.number == best.number:
        return _BEST
    return _FRONT if trial.number in front else _OTHER


def _place(offset: float, spread: float, cells: int) -> int:
    return round(offset / spread * (cells - 1)) if spread else 0
