"""The steps of the loop: v1 serves, the season changes, and all later steps run without a person. Each step can be
checked.

Decides what is printed and when the demo ends. After `begin` it only reads: no call of it changes anything.
"""

import shutil
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contract.errors import Code, WorldError
from edgeward.answers.retraining import Retraining
from edgeward.answers.rollouts import RolloutSummary
from edgeward.client import Client
from edgeward.demo.hanging import Tell
from edgeward.demo.loop.accuracy import Accuracy
from edgeward.demo.loop.air import TIME, TURNS, inputs_of, labels_of, load_air, train_on_one_winter
from edgeward.demo.loop.policies import ALL, RETRAINING, SHADOW_THEN_CANARY
from edgeward.demo.loop.stations import LATE_S, Stations
from edgeward.demo.processes import Process, Site, wait_for

MODEL = "air"
DEVICES = 5
ROWS_PER_S = 40.0
LEAD_S = 22.0
"""Seconds for which v1 serves in its own season."""
RECOVERED_S = 30.0
"""Seconds for which the new version serves before the demo ends."""
WITHIN_S = 110.0
"""Seconds from the change of the season to the new version on every device."""
LOOK_S = 0.5


@dataclass
class Loop:
    """The loop with its past events. Moments are seconds since `began_s` of the monotonic clock."""

    site: Site
    client: Client
    tell: Tell
    ports: list[int]
    began_s: float
    turns_at: float = 0.0
    serves_at: float = 0.0
    recovered_at: float = 0.0
    audit_from: int = 0
    attempt: Retraining | None = None
    rollout: RolloutSummary | None = None
    worker: Process | None = None
    stations: Stations | None = None
    accuracy: Accuracy = field(init=False)
    right_of_v1: Any = None
    """Whether v1 would answer each row right: the result without retraining."""
    _told: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.accuracy = Accuracy(self.client)

    @property
    def now_s(self) -> float:
        """Seconds since the demo began."""
        return time.monotonic() - self.began_s

    def install(self) -> None:
        """Pushes v1 with its held-out rows, and rolls it out to every device."""
        model, sample, held_out = train_on_one_winter()
        rows = load_air()
        self.right_of_v1 = model.predict(inputs_of(rows)) == labels_of(rows)
        pushed = self.client.push(model, name=MODEL, sample=sample, held_out=held_out)
        said = next(each.detail for each in pushed.gates if each.gate == "held_out")
        self.tell(f"v1 knows one winter: {said}")
        ended = self.client.rollout(MODEL, strategy=ALL).wait()
        if ended.status != "completed":
            raise WorldError(Code.ROLLOUT_CONFLICT, f"v1 is {ended.status}: {ended.reason}")
        self.tell(f"v1 serves on {DEVICES} devices")

    def hand_over(self) -> None:
        """Sets both policies and starts the worker: the last action of a person."""
        self.client.deploy(MODEL, strategy=SHADOW_THEN_CANARY)
        self.client.set_retraining_policy(MODEL, RETRAINING)
        pipeline = self.site.directory / "retrain_air.py"
        shutil.copy(Path(__file__).with_name("retrain_air.py"), pipeline)  # as a file of a user
        token = self.client.create_token("trainer", ["operator"], 1.0)
        command = [
            "env", f"EDGEWARD_URL={self.site.url}", f"EDGEWARD_TOKEN={token.token}",
            f"EDGEWARD_RUNS_DIR={self.site.directory / 'runs'}",
            str(Path(sys.executable).with_name("edgeward")), "retrain", "worker", str(pipeline),
            "--model", MODEL, "--name", "trainer", "--poll-s", "0.5",
            "-p", f"labels_file={self._labels_file}",
        ]  # fmt: skip
        self.worker = Process("trainer", command, self.site.directory / "trainer.log")
        self.worker.start()
        self.tell("policies are set, a worker waits; from here on nobody touches anything")

    def begin(self) -> None:
        """Starts the stations, a little before spring."""
        rows = load_air()
        turns = int((rows[TIME] < TURNS).sum())
        self.stations = Stations(rows, self.ports, rows_per_s=ROWS_PER_S, labels_file=self._labels_file, model=MODEL)
        self.audit_from = self.client.audit_entries(limit=1)[0].number
        self.stations.start(turns - int(LEAD_S * ROWS_PER_S))
        self.serves_at, self.turns_at = self.now_s, self.now_s + LEAD_S
        self.tell(f"{DEVICES} stations ask about {self.stations.hour:%d %B %Y} and on: an hour in 25 ms")

    def watch(self) -> None:
        """Watches until the new version has served for some time. WorldError if that does not happen in time."""
        wait_for("the recovery", self._look, self.worker, within_s=WITHIN_S + self.turns_at - self.now_s)

    def accuracy_of_v1(self, since_s: float, until_s: float) -> float:
        """Returns how often v1 would have been right on the rows with labels between two moments."""
        assert self.stations is not None
        begun = self.serves_at + LATE_S
        first, last = (self.stations.first + int((at_s - begun) * ROWS_PER_S) for at_s in (since_s, until_s))
        return float(self.right_of_v1[max(first, self.stations.first) : max(last, self.stations.first + 1)].mean())

    def hands(self) -> list[str]:
        """Returns what any person has done since the stations began, by the controller's audit."""
        entries = self.client.audit_entries(limit=None)
        later = [each for each in entries if each.number > self.audit_from]
        return [f"{each.actor}: {each.action}" for each in later if each.actor not in ("controller", "trainer")]

    def told_at(self, what: str) -> float:
        """Returns when the newest event whose name ends so came; 0.0 for never."""
        return max((at_s for name, at_s in self._told.items() if name.endswith(what)), default=0.0)

    def stop(self) -> None:
        """Ends the stations and the worker."""
        if self.stations is not None:
            self.stations.stop()
        if self.worker is not None:
            self.worker.stop()

    def _look(self) -> bool:
        self.accuracy.look(self.now_s)
        self._tell_season()
        self._tell_attempt()
        self._tell_rollout()
        time.sleep(LOOK_S)
        return bool(self.recovered_at) and self.now_s >= self.recovered_at + RECOVERED_S

    def _tell_season(self) -> None:
        if self.now_s >= self.turns_at:
            self._once("spring", "spring comes; v1 has never seen one", bold=True)
        for point in self.accuracy.series(since_s=self.turns_at)[-1:]:
            before = self.accuracy.mean(self.serves_at, self.turns_at)
            if before is not None and point[1] < before - 0.15:
                words = f"the fleet's accuracy fell from {before:.2f} to {point[1]:.2f}"
                self._once("fell", words)

    def _tell_attempt(self) -> None:
        found = self.client.retrainings(MODEL)
        if not found:
            return
        attempt = self.attempt = found[0]
        for proposal in attempt.decision.proposals:
            self._once(f"{attempt.id} {proposal.trigger}", f"proposed by {proposal.trigger}: {proposal.detail}")
        self._once(f"{attempt.id} decided", f"the policy decides to train: {attempt.decision.detail}")
        if attempt.step:
            self._once(f"{attempt.id} {attempt.step}", f"  the worker: step {attempt.step}")
        if attempt.ended_at:
            passed = attempt.status == "passed"
            word = "the candidate passes its gates" if passed else attempt.status
            self._once(f"{attempt.id} ended", f"{word}: {attempt.detail}", bold=passed)

    def _tell_rollout(self) -> None:
        release = self.attempt.release if self.attempt is not None else 0
        found = [each for each in self.client.rollouts() if each.release == release] if release else []
        if not found:
            return
        rollout = self.rollout = found[0]
        words = ("as a shadow on one device", "as the canary", "on all devices")
        if rollout.status == "running":
            self._once(
                f"wave {rollout.wave + 1}", f"v{release} goes out by the {rollout.created_by}: {words[rollout.wave]}"
            )
        elif not self.recovered_at and rollout.status == "completed":
            self.recovered_at = self.now_s
            self._once("completed", f"v{release} serves on {sum(rollout.counts.values())} devices", bold=True)
        elif rollout.status not in ("completed", "running"):
            self._once(rollout.status, f"the rollout is {rollout.status}: {rollout.reason}")

    def _once(self, what: str, words: str, *, bold: bool = False) -> None:
        if what not in self._told:
            self._told[what] = self.now_s
            self.tell(words, bold=bold)

    @property
    def _labels_file(self) -> Path:
        return self.site.directory / "labels.csv"
