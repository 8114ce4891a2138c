"""Drift marks and quality alarms on unchanged and on real series, and how far estimated accuracy is from the true one.

Compared with Evidently's and NannyML's defaults, if EDGEWARD_YARDSTICKS names a Python that has both
(`benchmarks/drift_yardsticks.py`). Figures go to benchmarks/results/drift.md, plots to docs/concepts/drift/.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.drift_plots import draw
from benchmarks.drift_streams import Stream, streams
from benchmarks.table import Row
from contract.distributions import CONFIDENCE_EDGES, count, edges_of
from controller.drift.distance import Moved, moved
from controller.drift.quality import Labelled, QualityEstimate, estimate, middles
from controller.drift.signals import quality_signal
from controller.drift.wanted import PER_DAY

WITHIN = 0.03
GOOD_WEEKS = 0.9
PLOTS = Path(__file__).parents[1] / "docs" / "concepts" / "drift"
_HERE = Path(__file__).parent


class Week(NamedTuple):
    """The estimates at the end of one week, and the true values."""

    found: QualityEstimate
    alarm: bool
    truth: float
    moved: Sequence[Moved]


def measure() -> list[Row]:
    """Returns the rows of this benchmark."""
    every = streams()
    others = _yardsticks(every)
    return [row for stream in every for row in _of_stream(stream, others.get(stream.name, {}))]


def _of_stream(stream: Stream, others: Mapping[str, float]) -> list[Row]:
    weeks = run(stream)
    draw(PLOTS / f"{_slug(stream.name)}.svg", stream.name, weeks)
    name, told = stream.name, [week for week in weeks if week.found.value is not None]
    valid = [week for week in told if week.found.valid]
    near = [abs((week.found.value or 0.0) - week.truth) <= WITHIN for week in valid]
    good = (sum(near) + len(weeks) - len(valid)) / len(weeks)
    alarms = sum(week.alarm for week in weeks) / stream.months
    marks = sum(any(each.is_beyond for each in week.moved) for week in weeks) / stream.months
    at_most_one = 1.0 if stream.quiet else None
    nanny, evident = others.get("nannyml_quality", float("nan")), others.get("evidently_drift", float("nan"))
    found = [
        Row(f"{name}: quality alarms a month", alarms, nanny, "", "NannyML CBPE", at_most_one, absolute=True),
        Row(f"{name}: weeks marked as moved, a month", marks, evident, "", "Evidently", at_most_one, absolute=True),
        Row(
            f"{name}: the same beside NannyML's drift",
            marks,
            others.get("nannyml_drift", float("nan")),
            "",
            "NannyML univariate",
        ),
        _row(f"{name}: within {WITHIN} of the truth, or the flag is up", good, others.get("nannyml_near"), GOOD_WEEKS),
        _row(f"{name}: weeks with a valid estimate", len(valid) / len(weeks), None, None),
        _row(f"{name}: of them within {WITHIN}", float(np.mean(near)) if near else float("nan"), None, None),
        _row(f"{name}: of all estimates the truth lies in the interval", _covered(told), None, None),
        _row(f"{name}: the truth's own chance, one standard deviation", _chance(stream), None, None),
    ]
    return found if stream.quiet or "worse" not in name else [*found, _delay(stream, weeks)]


def run(stream: Stream) -> list[Week]:
    """Returns for every week the estimates by the data known at that time, without labels of that week."""
    week = stream.day // 7
    asked = _asked(stream)
    bins = np.searchsorted(CONFIDENCE_EDGES, stream.confidence) + 1
    size = len(CONFIDENCE_EDGES) + 2
    blocks: list[Labelled | None] = []
    columns = [(values, edges_of(sample)) for values, sample in zip(stream.rows.T, stream.sample.T, strict=True)]
    counts: list[list[np.ndarray]] = [[] for _ in columns]
    promised, said = middles(CONFIDENCE_EDGES), []
    for number in range(stream.weeks):
        here = week == number
        now = np.bincount(bins[here], minlength=size).astype(np.float64)
        for known, (values, edges) in zip(counts, columns, strict=True):
            known.insert(0, count(values[here], edges))
        if here.sum() < PER_DAY:
            blocks.insert(0, None)
            continue
        found = estimate(now, blocks, promised)
        far = [one for known in counts if (one := moved(np.array(known[:60], dtype=np.float64))) is not None]
        said.append(Week(found, quality_signal("m", found, 1).is_beyond, float(stream.right[here].mean()), far))
        labelled = here & asked
        rows = np.bincount(bins[labelled], minlength=size).astype(np.float64)
        right = np.bincount(bins[labelled & stream.right], minlength=size).astype(np.float64)
        blocks.insert(0, Labelled(rows, right, now) if rows.sum() else None)
    return said


def _asked(stream: Stream) -> np.ndarray:
    """Returns which rows people give a label: those of the label budget, half random and half of the least certain."""
    random = np.random.default_rng(1)
    asked = np.zeros(len(stream.day), dtype=bool)
    for rows in np.split(np.arange(len(stream.day)), np.flatnonzero(np.diff(stream.day)) + 1):
        chosen = random.permutation(rows)
        asked[chosen[: PER_DAY // 2]] = True
        others = chosen[PER_DAY // 2 :]
        asked[others[np.argsort(stream.confidence[others], kind="stable")[: PER_DAY // 2]]] = True
    return asked


def _covered(told: Sequence[Week]) -> float:
    inside = [(week.found.low or 0) <= week.truth <= (week.found.high or 0) for week in told]
    return float(np.mean(inside)) if inside else float("nan")


def _chance(stream: Stream) -> float:
    rows = len(stream.day) / stream.weeks
    ratio = float(stream.right.mean())
    return float(np.sqrt(ratio * (1 - ratio) / rows))


def _delay(stream: Stream, weeks: Sequence[Week]) -> Row:
    """Returns the weeks from the harm until the quality alarm, or until the estimate is flagged as invalid."""
    after = [at for at, week in enumerate(weeks) if at >= 60 and (week.alarm or not week.found.valid)]
    return _row(
        f"{stream.name}: weeks until an alarm or the flag", (after[0] - 60 + 1) if after else np.inf, None, None
    )


def _row(what: str, ours: float, yardstick: float | None, at_least: float | None) -> Row:
    beside = float("nan") if yardstick is None else yardstick
    return Row(
        what, ours, beside, "", "none" if yardstick is None else "NannyML CBPE", at_least, at_least=True, absolute=True
    )


def _yardsticks(every: Sequence[Stream]) -> dict[str, dict[str, float]]:
    """Returns Evidently's and NannyML's results on the same series, by series; {} without their environment."""
    python = os.environ.get("EDGEWARD_YARDSTICKS", "")
    if not python:
        return {}
    with tempfile.TemporaryDirectory() as scratch:
        for at, each in enumerate(every):
            np.savez(
                Path(scratch) / f"{at:02}.npz",
                name=each.name,
                columns=np.array(each.columns),
                day=each.day,
                rows=each.rows,
                confidence=each.confidence,
                right=each.right,
                sample=each.sample,
                sample_confidence=each.sample_confidence,
                sample_right=each.sample_right,
            )
        done = subprocess.run([python, str(_HERE / "drift_yardsticks.py"), scratch], stdout=subprocess.PIPE, check=True)
    return dict(json.loads(line) for line in done.stdout.splitlines() if line.startswith(b"["))


def _slug(name: str) -> str:
    return "-".join("".join(each if each.isalnum() else " " for each in name.lower()).split())
