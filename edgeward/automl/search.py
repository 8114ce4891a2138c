"""`edgeward.automl.search`: draws pipelines, scores them by folds, measures their ONNX form, and records each.

Decides the order: a score first, a measurement only if the score is worth a conversion. Draws with Optuna's
multi-objective TPE, which chooses after every family was tried once. Refuses to know how a device measures, and how
results are shown.
"""

import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from contract.errors import BadInput, Code, WorldError
from edgeward.answers.tried import ProbedOn, Tried
from edgeward.automl.distil import Teacher
from edgeward.automl.folds import Rows, Task, read_rows
from edgeward.automl.front import Limits, best_within, pareto_front
from edgeward.automl.scoring import fitted, score_folds, spread
from edgeward.automl.space import draw_pipeline, families_of
from edgeward.automl.trial import Trial

Measure = Callable[[Any, Any], Tried]
"""(fitted pipeline, sample rows) -> the measures of its ONNX form."""
SAMPLE_ROWS = 300
"""Rows for the parity check and the measurement. A pushed version is judged with the same rows."""
SKIP_BEYOND = 0.02
"""A trial with a score further below the best is not measured: a conversion takes as long as five fits of small
trees."""
MAX_TRIALS = 2_000
"""The most trials of one search: the records of their runs take 40 MB."""
FINISHING_PART = 0.1
"""The fraction of the time that is kept for fitting and measuring the last trial."""


@dataclass(frozen=True)
class Search:
    """The result of a search."""

    id: str
    rows: Rows
    limits: Limits
    seed: int
    trials: tuple[Trial, ...]
    took_s: float
    teacher: Teacher | None = None

    @property
    def front(self) -> list[Trial]:
        """Trials that no other beats in every measure, best score first."""
        return pareto_front(self.trials)

    @property
    def best(self) -> Trial | None:
        """The best score within the limits; None if no trial is within them."""
        return best_within(self.front, self.limits)

    @property
    def sample(self) -> Any:
        """The rows with which forms were measured, for a push."""
        return self.rows.features.iloc[:SAMPLE_ROWS]

    def error_of(self, trial: Trial) -> float:
        """The standard error of a trial's score over its folds."""
        return spread(trial.fold_scores)


def search(
    frame: Any,
    *,
    target: str,
    task: Task | None = None,
    time_column: str = "",
    limits: Limits | None = None,
    minutes: float = 2.0,
    trials: int | None = None,
    seed: int = 0,
    teacher: Any = None,
    name: str = "automl",
    on: str | Mapping[str, str] = "",
    measure: Measure | None = None,
    directory: Path | None = None,
    tell: Callable[[Trial], None] | None = None,
) -> Search:
    """Searches for `minutes`, or `trials` if that comes first, and returns all trials with their Pareto front.

    `frame` is a DataFrame with the column `target`; rows are split by `time_column` if it is given. `teacher` is an
    estimator (or a `Teacher`) whose answers the pipelines learn in place of the target; scores stay those against the
    target. `on` is a device, or the labels of a class of devices, whose probe measures latency and memory; a trial that
    no device has probed fails. `measure` (None: the controller that `Client()` finds) converts and measures;
    `directory` is where runs are kept. One seed draws the same pipelines as long as the measures are the same;
    latencies vary by a few percent.

    BadInput `request_invalid` for rows that cannot be learnt from, `config_invalid` without Optuna.
    """
    rows = read_rows(frame, target, task=task, time=time_column, seed=seed)
    taught = _teacher(teacher, rows)
    optuna = _optuna()  # wrong arguments are reported before a missing package
    began = time.monotonic()
    limits = limits or Limits()
    study = _study(optuna, rows, seed)
    searching = _Searching(
        rows=rows,
        teacher=taught,
        measure=measure or _controller_measure(name, on, limits.max_bytes),
        seed=seed,
        id=f"s-{secrets.token_hex(4)}",
        run_name=_run_name(name),
        directory=directory,
        until=began + 60 * minutes * (1 - FINISHING_PART),
    )
    found: list[Trial] = []
    try:
        while len(found) < min(trials or MAX_TRIALS, MAX_TRIALS) and (not found or time.monotonic() < searching.until):
            drawn = study.ask()
            trial = searching.try_one(drawn, len(found), _best_score(found))
            _tell_study(optuna, study, drawn, trial, limits)
            found.append(trial)
            if tell is not None:
                tell(trial)
    except KeyboardInterrupt:  # the trials before the interrupt are the result
        if not found:
            raise
    took_s = time.monotonic() - began
    return Search(searching.id, rows, limits, seed, tuple(found), took_s, taught)


@dataclass(frozen=True)
class _Searching:
    """The state that all trials of a search share."""

    rows: Rows
    teacher: Teacher | None
    measure: Measure
    seed: int
    id: str
    run_name: str
    directory: Path | None
    until: float

    def try_one(self, draw: Any, number: int, best: float | None) -> Trial:
        """Draws, scores, measures and records one pipeline."""
        from edgeward.runs.run import run

        family, pipeline = draw_pipeline(draw, self.rows, self.seed)
        tags = {"search": self.id, "trial": str(number), "family": family}
        with run(self.run_name, params=dict(draw.params), tags=tags, directory=self.directory) as opened:
            opened.seed(self.seed)
            opened.log_data(self.rows.features, "features", keep=False)
            begun = Trial(number, family, dict(draw.params), run=opened.id)
            trial = self._measured(self._scored(begun, pipeline, best), pipeline, best)
            opened.log_metrics(_metrics(trial))
            opened.tag(
                {"state": trial.state}
                | ({"device": trial.device} if trial.device else {})
                | ({"reason": trial.reason[:200]} if trial.reason else {})
            )
        return trial

    def _scored(self, trial: Trial, pipeline: Any, best: float | None) -> Trial:
        until = None if best is None else self.until  # without any result yet, a search may take longer than its limit
        try:
            scores, agreement = score_folds(pipeline, self.rows, self.teacher, until=until)
        except Exception as error:  # an estimator may raise anything
            return replace(trial, state="failed", reason=f"{type(error).__name__}: {error}"[:300])
        scored = replace(trial, score=sum(scores) / len(scores), fold_scores=scores, agreement=agreement)
        if len(scores) < len(self.rows.folds):
            return replace(scored, state="skipped", reason="the time was over before its last fold")
        return scored

    def _measured(self, trial: Trial, pipeline: Any, best: float | None) -> Trial:
        if trial.state != "measured":
            return trial
        if best is not None and trial.score < best - SKIP_BEYOND:
            return replace(trial, state="skipped", reason=f"its score lies {best - trial.score:.3f} below the best")
        target = self.rows.target if self.teacher is None else self.teacher.answers_to_all
        made = fitted(pipeline, self.rows.features, target)
        try:
            tried = self.measure(made, self.rows.features.iloc[:SAMPLE_ROWS])
        except (BadInput, WorldError) as error:
            if isinstance(error, WorldError) and error.code is not Code.BUSY:
                raise
            return replace(trial, state="failed", reason=f"{error.code}: {error.detail}"[:300])
        if not tried.passed:
            return replace(trial, state="failed", reason=f"parity: {tried.detail}"[:300])
        known = replace(trial, size_bytes=tried.size_bytes, digest=tried.digest, pipeline=made)
        if tried.on is None:
            return replace(
                known, latency_us_p50=tried.latency_us_p50, latency_us_p95=tried.latency_us_p95, load_mb=tried.load_mb
            )
        return _on_device(known, tried.on)


def _on_device(trial: Trial, found: ProbedOn) -> Trial:
    """Returns the trial with the measurements of a device; those of the controller are from another machine."""
    if found.code:
        where = f"{found.device}: " if found.device else ""
        return replace(trial, state="failed", reason=f"{where}{found.code}: {found.detail}"[:300], pipeline=None)
    return replace(trial, latency_us_p50=found.latency_us_p50, load_mb=found.memory_mb, device=found.device)


def _metrics(trial: Trial) -> dict[str, float]:
    scored = {"score": trial.score} | ({} if trial.agreement is None else {"agreement": trial.agreement})
    if trial.state != "measured":
        return {} if trial.state == "failed" and not trial.fold_scores else scored
    measured = {"size_bytes": trial.size_bytes, "latency_us_p50": trial.latency_us_p50, "load_mb": trial.load_mb}
    return scored | {"latency_us_p95": trial.latency_us_p95} | measured


def _best_score(found: list[Trial]) -> float | None:
    return max((each.score for each in found if each.state == "measured"), default=None)


def _study(optuna: Any, rows: Rows, seed: int) -> Any:
    families = families_of(rows)
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=2 * len(families))
    study = optuna.create_study(directions=["maximize", "minimize", "minimize", "minimize"], sampler=sampler)
    for family in families:
        study.enqueue_trial({"family": family})
    return study


def _tell_study(optuna: Any, study: Any, drawn: Any, trial: Trial, limits: Limits) -> None:
    if trial.state != "measured":
        state = optuna.trial.TrialState.PRUNED if trial.state == "skipped" else optuna.trial.TrialState.FAIL
        study.tell(drawn, state=state)
        return
    for name, excess in limits.excess(trial).items():
        drawn.set_constraint(name, excess)
    study.tell(drawn, [trial.score, float(trial.size_bytes), trial.latency_us_p50, trial.load_mb])


def _teacher(given: Any, rows: Rows) -> Teacher | None:
    if given is None:
        return None
    taught = given if isinstance(given, Teacher) else Teacher(given)
    taught.learn(rows)
    return taught


def _controller_measure(name: str, on: str | Mapping[str, str], max_bytes: int | None) -> Measure:
    from edgeward.client import Client

    client = Client()
    return lambda pipeline, sample: client.try_out(pipeline, name=name, sample=sample, on=on, max_bytes=max_bytes)


def _run_name(name: str) -> str:
    return f"automl-{re.sub('[^a-z0-9-]+', '-', name.lower()).strip('-')[:40]}"


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise BadInput(Code.CONFIG_INVALID, "a search needs Optuna: pip install 'edgeward[automl]'") from None
    import warnings

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    return optuna
