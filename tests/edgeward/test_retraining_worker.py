"""The worker against a simulated controller: what it runs, pushes and reports when a pipeline fails."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contract.errors import BadInput, Code
from edgeward.answers.retraining import Claimed, Retraining
from edgeward.held_out import HeldOut
from edgeward.retraining.candidate import with_never_forget
from edgeward.retraining.worker import Worker

HEAD = """
import numpy as np
from edgeward.held_out import HeldOut
from edgeward.pipelines.pipeline import Pipeline
from edgeward.pipelines.step import step
from edgeward.retraining.candidate import Candidate


@step
def train(champion: int) -> int:
    {body}
    return champion + 1


"""
GOOD = """
@step
def candidate(train: int) -> Candidate:
    rows = np.zeros((4, 2), dtype=np.float32)
    return Candidate(f"model {train}", rows, HeldOut(rows, np.zeros(4), np.arange(4.0), 0))


pipeline = Pipeline("again", [train, candidate])
"""
DECIDED = {
    "at": 1.0, "model": "m", "champion": 3, "word": "train", "reason": "gain_shown", "detail": "it fell",
    "proposals": [{"trigger": "decay", "detail": "it fell"}],
}  # fmt: skip
ATTEMPT = {"id": "t-1", "model": "m", "champion": 3, "status": "running", "decision": DECIDED, "created_at": 1.0}
POLICY = {
    "approval": False, "pipeline": "", "look_s": 1.0, "recoverable": 0.5, "triggers": {}, "quality": {}, "limits": {},
    "costs": {}, "champion": {},
}  # fmt: skip


class PlayedController:
    """A controller that gives out one attempt and records the reports."""

    def __init__(self) -> None:
        self.pushed: list[dict[str, Any]] = []
        self.failed: list[dict[str, Any]] = []
        self.steps: list[str] = []

    def claim_retraining(self, worker: str, models: list[str]) -> Claimed:
        return Claimed.read({"retraining": ATTEMPT, "policy": POLICY})

    def retraining_heard(self, identifier: str, worker: str, step: str) -> None:
        self.steps.append(step)

    def retraining_failed(self, identifier: str, worker: str, **said: str) -> None:
        self.failed.append(said)

    def retraining(self, identifier: str) -> Retraining:
        return Retraining.read(ATTEMPT | {"status": "failed" if self.failed else "passed"})

    def push(self, model: Any, **options: Any) -> None:
        self.pushed.append({"model": model, **options})


def worker(tmp_path: Path, text: str) -> tuple[Worker, PlayedController]:
    file = tmp_path / f"again_{tmp_path.name.replace('-', '_')}.py"
    file.write_text(text)
    played = PlayedController()
    return Worker(played, "lab", {"m": str(file)}, {}, tmp_path / "runs"), played  # type: ignore[arg-type]


def test_a_candidate_is_pushed_for_its_attempt_with_the_champion_as_parent(tmp_path: Path) -> None:
    made, played = worker(tmp_path, HEAD.format(body="pass") + GOOD)
    made.check()
    ended = made.work_once()
    assert ended is not None
    assert ended.status == "passed"
    (pushed,) = played.pushed
    assert (pushed["model"], pushed["retraining"], pushed["parent"], pushed["name"]) == ("model 4", "t-1", 3, "m")
    assert played.steps[:2] == ["train", "candidate"]


def test_a_step_that_raises_is_reported_to_the_controller_and_nothing_is_pushed(tmp_path: Path) -> None:
    made, played = worker(tmp_path, HEAD.format(body='raise ValueError("no rows")') + GOOD)
    made.work_once()
    assert played.pushed == []
    (said,) = played.failed
    assert said["step"] == "train"
    assert "step train raised ValueError: no rows" in said["detail"]


def test_a_pipeline_without_a_candidate_is_refused_before_the_worker_waits(tmp_path: Path) -> None:
    made, _ = worker(tmp_path, HEAD.format(body="pass") + 'pipeline = Pipeline("again", [train])\n')
    with pytest.raises(BadInput, match="has no step candidate, which returns a Candidate") as refused:
        made.check()
    assert refused.value.code == Code.PIPELINE_INVALID


def test_the_fixed_set_comes_after_the_newest_rows() -> None:
    newest = HeldOut(np.zeros((3, 2)), np.zeros(3), times=np.arange(3.0), trained_until=0)
    both = with_never_forget(newest, np.ones((2, 2)), np.ones(2))
    assert both.never_forget.tolist() == [False, False, False, True, True]
    assert (len(both.rows), both.labels.tolist(), both.times.tolist()) == (5, [0, 0, 0, 1, 1], [0, 1, 2, 2, 2])
    with pytest.raises(BadInput, match="take no fixed set"):
        with_never_forget(HeldOut(np.zeros((1, 2)), [0], groups={"a": ["x"]}), np.ones((1, 2)), [1])
