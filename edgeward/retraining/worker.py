"""The worker: claims approved trainings from the controller, runs the pipeline, pushes the candidate, reports failures.

Decides that a pipeline gets the names of the attempt, its model and its champion if it has such parameters, and that
the controller gets reports while it runs. Refuses to know whether to train: the controller decides.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contract.errors import BadInput, Code, EdgewardError
from edgeward.answers.models import Version
from edgeward.answers.retraining import Retraining, RetrainingPolicy
from edgeward.client import Client
from edgeward.pipelines.pipeline import Pipeline, load_pipeline
from edgeward.pipelines.runner import PipelineResult, StepState, run_pipeline
from edgeward.retraining.candidate import Candidate
from edgeward.retraining.kept import MAX_START_CHARS, TAG, WARM, KeptEstimators, champion_file

STEP = "candidate"
"""The name of the step whose output is pushed."""
WARM_FROM = "warm_from"
"""The parameter of a pipeline that gets the file of the champion's estimator; empty: there is none."""
CHAMPION_UNTIL = "champion_until"
"""The parameter of a pipeline that gets the time in seconds of the newest row that the champion has learned: rows until
then are no evidence, so that no backtest needs them. 0: the champion's push did not say it."""
POLL_S = 5.0
HEARD_S = 10.0
"""Seconds between two reports: a twelfth of the time after which a worker counts as dead, by default."""
MAX_LOG_CHARS = 4_000

Tell = Callable[[str], None]


@dataclass
class Worker:
    """A worker for some models, each with the place of its pipeline (`FILE` or `FILE.py:NAME`)."""

    client: Client
    name: str
    pipelines: Mapping[str, str]
    """The place of each model's pipeline."""
    params: Mapping[str, Any]
    runs_dir: Path | None = None
    tell: Tell = lambda words: None
    heard_s: float = HEARD_S

    def check(self) -> None:
        """Raises BadInput `pipeline_invalid` for a pipeline that could never give a candidate, before it waits for
        work.
        """
        for place in self.pipelines.values():
            self._pipeline(place)

    def work_once(self) -> Retraining | None:
        """Trains one approved attempt; returns how it ended, or None if none waits. WorldError without a controller."""
        claimed = self.client.claim_retraining(self.name, list(self.pipelines))
        attempt, policy = claimed.retraining, claimed.policy
        if attempt is None or policy is None:
            return None
        self.tell(f"{attempt.id}: trains {attempt.model}: {attempt.decision.detail}")
        with _Life(self, attempt) as life:
            try:
                self._train(attempt, policy, life)
            except EdgewardError as error:
                self._report(attempt, life, error)
        ended = self.client.retraining(attempt.id)
        self.tell(f"{attempt.id}: {ended.status}: {ended.detail}")
        return ended

    def work(self, poll_s: float = POLL_S) -> None:
        """Works forever. If the controller does not answer, tries again."""
        while True:
            try:
                if self.work_once() is not None:
                    continue
            except EdgewardError as error:
                self.tell(f"{error.code}: {error.detail}; trying again in {poll_s:.0f} s")
            time.sleep(poll_s)

    def _train(self, attempt: Retraining, policy: RetrainingPolicy, life: "_Life") -> None:
        began = time.monotonic()
        pipeline = self._pipeline(self.pipelines[attempt.model])
        if policy.pipeline not in ("", pipeline.name):
            words = f"the policy asks for pipeline {policy.pipeline}, this worker has {pipeline.name}"
            raise BadInput(Code.PIPELINE_INVALID, words)
        warm_from, why = self._warm_from(attempt, policy, pipeline)
        known = {"model": attempt.model, "champion": attempt.champion, "retraining": attempt.id, WARM_FROM: warm_from}
        if CHAMPION_UNTIL in pipeline.parameters():
            known[CHAMPION_UNTIL] = _trained_until(self.client.version(attempt.model, attempt.champion))
        params = dict(self.params) | {name: known[name] for name in pipeline.parameters() if name in known}
        result = run_pipeline(self.pipelines[attempt.model], params, self.runs_dir, tell=life.saw)
        life.step = "push"
        took_s = time.monotonic() - began
        candidate: Candidate = result.outputs[STEP]
        start = _start_words(attempt, policy, candidate, why)[:MAX_START_CHARS]
        if start:
            self.tell(f"{attempt.id}: the training began {start}")
        self._push(attempt, result, candidate, took_s, start, keep=policy.start == WARM)

    def _warm_from(self, attempt: Retraining, policy: RetrainingPolicy, pipeline: Pipeline) -> tuple[str, str]:
        """(the file of the champion's estimator, nothing) or (nothing, why there is none)."""
        if policy.start != WARM:
            return "", "the policy asks for no warm start"
        if WARM_FROM not in pipeline.parameters():
            return "", f"pipeline {pipeline.name} has no parameter {WARM_FROM}"
        return champion_file(self.client, KeptEstimators(self.runs_dir), attempt.model, attempt.champion)

    def _push(
        self,
        attempt: Retraining,
        result: PipelineResult,
        candidate: Candidate,
        training_s: float,
        start: str,
        *,
        keep: bool,
    ) -> None:
        try:
            pushed = self.client.push(
                candidate.model,
                name=attempt.model,
                sample=candidate.sample,
                data=candidate.data,
                metrics={**candidate.metrics, **result.metrics},
                held_out=candidate.held_out,
                parent=attempt.champion,
                tags={"retraining": attempt.id} | ({TAG: start} if start else {}),
                retraining=attempt.id,
                training_s=training_s,
                start=start,
            )
        except BadInput as error:
            if error.code not in (Code.GATES_NOT_PASSED, Code.PARITY_FAILED):
                raise  # both errors mean that the controller has ended the attempt by its verdict
            return
        if keep:
            self._keep(attempt, pushed.digest, candidate.model)

    def _keep(self, attempt: Retraining, digest: str, estimator: Any) -> None:
        """Keeps the estimator for the next warm start; one that cannot be stored is reported, and nothing stops."""
        try:
            KeptEstimators(self.runs_dir).keep(digest, estimator)
        except (BadInput, OSError) as error:
            self.tell(f"{attempt.id}: no warm start can follow: {error}")

    def _report(self, attempt: Retraining, life: "_Life", error: EdgewardError) -> None:
        if error.code == Code.RETRAINING_CONFLICT:
            self.tell(f"{attempt.id}: the controller has ended it: {error.detail}")
            return
        self.client.retraining_failed(
            attempt.id, self.name, step=life.step, detail=f"{error.code}: {error.detail}"[:300],
            log=error.detail[-MAX_LOG_CHARS:],
        )  # fmt: skip

    def _pipeline(self, place: str) -> Pipeline:
        pipeline = load_pipeline(place)
        if STEP not in pipeline.steps:
            words = f"{place}: pipeline {pipeline.name} has no step {STEP}, which returns a Candidate"
            raise BadInput(Code.PIPELINE_INVALID, words)
        return pipeline


def _start_words(attempt: Retraining, policy: RetrainingPolicy, candidate: Candidate, why: str) -> str:
    """How the training began, for people; empty if neither policy nor pipeline uses warm starts."""
    start = candidate.start
    if start is not None and start.warm:
        return f"{WARM} from v{attempt.champion}: {start}"
    if why and policy.start == WARM:
        return f"cold: {why}"
    if policy.start == WARM and start is None:
        return f"cold: the pipeline was handed v{attempt.champion} and does not say what it did with it"
    return str(start) if start is not None and policy.start == WARM else ""


def _trained_until(champion: Version) -> float:
    """The time of the newest training row, from the evidence of the gate on the split; 0 if it is not known."""
    return max(
        (each.evidence.get("trained_until_s", 0.0) for each in champion.gates if each.gate == "split"), default=0.0
    )


class _Life:
    """A context that reports to the controller that the worker is alive, and its step."""

    def __init__(self, worker: Worker, attempt: Retraining) -> None:
        self._worker, self._attempt = worker, attempt
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._go_on_saying, name="retraining-heard", daemon=True)
        self.step = "begin"

    def saw(self, state: StepState) -> None:
        """Notes a step that begins or ends."""
        if state.status in ("running", "failed"):
            self.step = state.step
            self._worker.tell(f"  step {state.step}: {state.status}")
            self._say()

    def _go_on_saying(self) -> None:
        while not self._ended.wait(self._worker.heard_s):
            self._say()

    def _say(self) -> None:
        try:
            self._worker.client.retraining_heard(self._attempt.id, self._worker.name, self.step)
        except EdgewardError as error:
            self._worker.tell(f"  {error.code}: {error.detail}")

    def __enter__(self) -> "_Life":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
