"""Conversion: every estimator of scikit-learn that predicts or transforms, and drawn pipelines, judged on fresh rows.

Each is right, refused with a remedy, unclear or wrong. The table of estimators is written to
docs/reference/conversion.md.
"""

import asyncio
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.experimental import enable_halving_search_cv, enable_iterative_imputer  # noqa: F401
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.utils import all_estimators

from benchmarks import conversion_options
from benchmarks.table import Row
from contract.answers.recorded import decode_recorded
from controller.convert.convert import ConversionLimits, run_conversion
from controller.convert.judge import judge_conversion
from controller.convert.scratch import scratch_directory
from controller.convert.starter import Starter
from edgeward.encode import encode_model, encode_rows
from edgeward.recording import with_answers
from tests.controller.drawn_pipelines import draw
from tests.controller.fuzzed import Fuzzed, fuzz

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "conversion.md"
PIPELINES = 40
RNG = np.random.default_rng(0)
X = np.round(np.abs(RNG.normal(3, 1, (200, 4))), 2)
CLASSES = (X[:, 0] > 3).astype(int) + (X[:, 1] > 3.5)
PAIRS = np.stack([CLASSES > 0, X[:, 2] > 3], axis=1).astype(float)
TARGETS = X @ np.array([1.0, -2.0, 0.5, 0.0]) + 0.1 * RNG.normal(size=200)
SAMPLE_ROWS = 120
CHUNK_BYTES = 65536
RUNS = 5
"""Runs whose median is shown."""

_NEEDED: dict[str, dict[str, Any]] = {"MissingIndicator": {"features": "all"}}
"""Parameters that an estimator needs, so that it returns a column for these rows."""
_SKIPPED = {"DictVectorizer", "FeatureHasher", "HashingVectorizer", "CountVectorizer", "TfidfVectorizer"}
"""Estimators whose rows are no matrix of numbers."""


def measure() -> list[Row]:
    """Returns the counts of outcomes, and the time of registering a forest beside a bare conversion."""
    warnings.simplefilter("ignore")
    found = estimators()
    optioned = conversion_options.outcomes()
    PAGE.write_text(page(found) + section(optioned), encoding="utf-8")
    pipelines = [_drawn(seed) for seed in range(10_000, 10_000 + PIPELINES)]
    every = Counter(each.outcome for each in (*found.values(), *optioned.values(), *pipelines))
    alone = Counter(each.outcome for each in found.values())
    return [
        Row("estimators right", alone["right"], 140, "of " + str(len(found)), "goal", goal=1.0, at_least=True),
        Row("pipelines right", Counter(each.outcome for each in pipelines)["right"], PIPELINES, "", "all"),
        Row("refused with step and remedy", every["refused"] + every["parity"], 0, "", "none"),
        Row("unclear", every["unclear"], 0, "", "none", goal=0.0),
        Row("wrong", every["wrong"], 0, "", "none", goal=0.0),
        *_forest(),
        *_registered(),
    ]


def estimators() -> dict[str, Fuzzed]:
    """Returns the outcome of each estimator by name."""
    found: dict[str, Fuzzed] = {}
    for name, kind in all_estimators():
        if name in _SKIPPED:
            continue
        try:
            model, rows = _fitted(kind)
        except Exception:  # what cannot be fitted to a matrix, or to one column, cannot be converted
            continue
        if hasattr(model, "predict") or hasattr(model, "transform"):
            found[name] = fuzz(model, rows[:SAMPLE_ROWS], rows[SAMPLE_ROWS:], live=True)
    return found


def _fitted(kind: Any) -> tuple[Any, Any]:
    """Returns (the estimator, the rows to which it was fitted)."""
    regression = any(base.__name__ == "RegressorMixin" for base in kind.__mro__)
    targets: Any = TARGETS if regression else CLASSES
    inner = Ridge() if regression else LogisticRegression(max_iter=200)
    options: tuple[dict[str, Any], ...] = (
        {}, {"estimator": inner}, {"estimators": [("a", inner), ("b", inner)]}, {"base_estimator": inner},
        {"estimator": inner, "param_grid": {}}, {"estimator": inner, "param_distributions": {}},
        {"novelty": True}, {"transformers": [("all", "passthrough", [0, 1])]}, {"steps": [("only", inner)]},
        {"transformer_list": [("all", "passthrough")]},
    )  # fmt: skip
    fault: Exception | None = None
    used = (_NEEDED[kind.__name__],) if kind.__name__ in _NEEDED else options
    tasks = ((X, targets), (X, CLASSES > 0), (X, PAIRS), (X, PAIRS > 0), (X[:, :1], targets))
    for rows, wanted in tasks:
        for chosen in used:
            try:
                return kind(**chosen).fit(rows[:SAMPLE_ROWS], wanted[:SAMPLE_ROWS]), rows
            except Exception as error:
                fault = error
    raise fault or ValueError(kind.__name__)


def _drawn(seed: int) -> Fuzzed:
    drawn = draw(seed)
    return fuzz(drawn.model, drawn.sample, drawn.fresh, live=True)


def _forest() -> list[Row]:
    """Registers a forest of 100 trees with 2,000 sample rows, without the children, compared with a bare conversion."""
    model, rows = _forest_and_rows()
    took_s, bare_s = [], []
    for run in range(RUNS + 1):
        began = time.perf_counter()
        plain, recorded = decode_recorded(with_answers(model, rows, encode_rows(rows), waived=False))
        judge_conversion(model, plain, recorded, budget_s=60.0)
        took_s += [time.perf_counter() - began] if run else []
        bare_s.append(_bare())
    what = "forest of 100 trees: record and judge"
    return [Row(what, median(took_s), median(bare_s), "s", "bare to_onnx", goal=3.0)]


def _forest_and_rows() -> tuple[Any, Any]:
    rows = np.random.default_rng(0).normal(size=(2000, 10))
    return RandomForestClassifier(100, random_state=0).fit(rows, rows[:, 0] + rows[:, 1] > 0), rows


def _bare() -> float:
    """The time of a bare conversion in a process that holds skl2onnx as it is installed, without our writer of trees.

    The process converts twice, and the second time counts: the first one includes the imports.
    """
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", _BARE], capture_output=True, text=True, check=True)
    return float(done.stdout)


_BARE = """
import time
import numpy as np
from sklearn.ensemble import RandomForestClassifier
from skl2onnx import to_onnx
rows = np.random.default_rng(0).normal(size=(2000, 10))
model = RandomForestClassifier(100, random_state=0).fit(rows, rows[:, 0] + rows[:, 1] > 0)
for _ in range(2):
    began = time.perf_counter()
    to_onnx(model, rows[:1].astype(np.float32), options={id(model): {"zipmap": False}})
print(time.perf_counter() - began)
"""


def _registered() -> list[Row]:
    """Registering that forest in its real children: fresh ones, then with a starter that is already warm."""
    model, rows = _forest_and_rows()
    raw, sample, starter = encode_model(model)[1], with_answers(model, rows, encode_rows(rows), waived=False), Starter()
    took_s: dict[str, list[float]] = {"fresh": [], "warm": []}
    bare_s = []
    try:
        for run in range(RUNS + 1):
            bare_s.append(_bare())
            for name, used in (("fresh", None), ("warm", starter)):
                once_s = _once(raw, sample, used)
                took_s[name] += [once_s] if run else []  # the first push warms the starter
        status = Path(f"/proc/{starter.pid}/smaps_rollup").read_text(encoding="ascii")
    finally:
        starter.end()
    held = {name: int(status.partition(f"\n{name}:")[2].split()[0]) / 1024 for name in ("Rss", "Private_Dirty")}
    fresh_s, warm_s = (median(each) for each in took_s.values())
    return [
        Row("forest: registered in fresh children", fresh_s, median(bare_s), "s", "bare to_onnx"),
        Row("forest: registered with a warm starter", warm_s, median(bare_s), "s", "bare to_onnx", goal=3.0),
        Row("idle starter: resident", held["Rss"], held["Private_Dirty"], "MiB", "of it its own"),
    ]


def _once(raw: bytes, sample: bytes, starter: Starter | None) -> float:
    limits = ConversionLimits(timeout_s=120, memory_mb=4096)
    with tempfile.TemporaryDirectory() as given, scratch_directory() as directory:
        files = Path(given) / "model", Path(given) / "sample"
        for file, content in zip(files, (raw, sample), strict=True):
            file.write_bytes(content)
        began = time.perf_counter()
        run = run_conversion("skops", *files, limits, directory=directory, chunk_bytes=CHUNK_BYTES, starter=starter)
        asyncio.run(run)
        return time.perf_counter() - began


TIES = (
    "## Rows with equally likely classes",
    "",
    "If five of ten trees vote for each of two classes, the row is a tie, and the last digit of a sum",
    "decides its label. Edgeward adds the votes of trees, soft votes and weighted hard votes in the order",
    "in which scikit-learn adds them, so ties get the same label. Where another order cannot be avoided,",
    "as with `n_jobs`, all precisions are tried first, and each other label counts as a difference. If",
    "none agrees, a form passes only if every row that differs is a tie. The best scores of the estimator",
    "itself must differ by no more than rounding, and the label must be one of the tied classes. The",
    "scores of ONNX must agree within the usual tolerance. Rounding is `4 * sqrt(trees) * eps` of the",
    "largest score, with the `eps` of the floats that are added. For 100 trees this is 9e-15 in float64",
    "and 5e-6 in float32. The verdict of the parity gate says how many rows were ties. The golden set",
    "names the right labels of its ties, so that no device is refused for another order of sums.",
    "",
    "Nearest neighbours at equal distances are no such tie: scikit-learn may take either row as a",
    "neighbour, and the scores differ. Such a model is refused if its sample shows it.",
    "",
    "## Estimators",
)
"""The part of the page about ties."""


def page(found: dict[str, Fuzzed]) -> str:
    """Returns docs/reference/conversion.md."""
    counts = Counter(each.outcome for each in found.values())
    lines = [
        "# What converts",
        "",
        f"Of {len(found)} estimators of scikit-learn, {counts['right']} answer fresh rows as the estimator does.",
        "The others are refused at the push, with what to do. `make bench ONLY=conversion` writes this page.",
        "",
        *TIES,
        "",
        "| estimator | outcome | what is said |",
        "|---|---|---|",
    ]
    return "\n".join([*lines, *_lines(sorted(found.items()))]) + "\n"


def section(found: dict[str, Fuzzed]) -> str:
    """Returns the part of that page about options, on rows with unknown and missing categories and other words."""
    lines = [
        "",
        "## With options that matter",
        "",
        "Fresh rows hold unknown and missing categories, and words that the sample does not have.",
        "",
        "| estimator | outcome | what is said |",
        "|---|---|---|",
    ]
    return "\n".join([*lines, *_lines(list(found.items()))]) + "\n"


def _lines(found: list[tuple[str, Fuzzed]]) -> Iterator[str]:
    for name, each in found:
        words = "" if each.outcome == "right" else " ".join(each.words.replace("|", "/").split())[:220]
        outcome = {"parity": "refused by parity"}.get(each.outcome, each.outcome)
        yield f"| {name} | {outcome} | {words} |"
