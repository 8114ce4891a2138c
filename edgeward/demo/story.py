"""The demo's steps, each with a result that can be checked: install, improve, refuse. A test checks all of them."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from contract.errors import BadInput, Code
from edgeward.answers.devices import Device
from edgeward.answers.rollouts import Rollout
from edgeward.client import Client
from edgeward.demo.hanging import Tell
from edgeward.demo.models import train_better, train_first, train_on_other_scale
from edgeward.demo.processes import Site, wait_for

MODEL = "weather"
DEVICES = 5
MEASURE_S = 5.0
"""Seconds for which a version runs before its accuracy is read."""
WITHIN_S = 60.0

A_YEAR = 365
"""Weather has seasons, so a version is judged over as many daily rows as a year has."""

_TRIAL = {
    "soak_s": "2",
    "give_up_s": "60",
    "min_samples": A_YEAR,
    "judged_inferences": A_YEAR,
    "max_accuracy_drop": "0.15",
}
_RULES = [
    {"metric": "failed_ratio", "threshold": 0.0},
    {"metric": "accuracy_drop", "threshold": 0.1, "min_samples": A_YEAR, "on_missing": "skip"},
]
ALL = {"name": "all_at_once", "waves": [{"percent": 100}], "rules": _RULES[:1], "trial": _TRIAL}
CANARY = {
    "name": "canary", "waves": [{"percent": 20, "soak_s": 1.0}, {"percent": 100}], "rules": _RULES, "trial": _TRIAL,
}  # fmt: skip


@dataclass
class Chapter:
    """The result of one version."""

    release: int
    title: str
    status: str = ""
    devices: list[str] = field(default_factory=list)
    accuracy_before: float | None = None
    accuracy_after: float | None = None
    size_bytes: int = 0
    reason: str = ""


@dataclass
class Story:
    """The steps of the demo, with their results so far."""

    site: Site
    client: Client
    tell: Tell
    chapters: list[Chapter] = field(default_factory=list)
    killed: str = ""
    unserved_before: dict[str, int] = field(default_factory=dict)

    def install_first(self) -> Chapter:
        """Rolls v1 out to all devices at once."""
        chapter = self._push(train_first(), "linear, one year")
        self._roll_out(chapter, ALL)
        self.unserved_before = {entry.device: self._unserved(entry) for entry in self.client.devices()}
        time.sleep(MEASURE_S)
        return self._close(chapter, after=chapter.release)

    def improve(self) -> Chapter:
        """Rolls v2 out by canary; one device is killed in the middle of its update."""
        chapter = self._push(train_better(), "forest, twelve years")
        self._roll_out(chapter, CANARY, meanwhile=self._kill_one)
        time.sleep(MEASURE_S)
        return self._close(chapter, after=chapter.release)

    def refuse(self) -> Chapter:
        """Rolls v3 out, which is bad in a way that parity cannot detect."""
        chapter = self._push(train_on_other_scale(), "mis-scaled data")
        self._roll_out(chapter, CANARY)
        return self._close(chapter, after=chapter.release)

    def failed_inferences(self) -> int:
        """Returns the number of inferences that failed, and of rows without a model after the first version was
        installed.
        """
        failed = 0
        for entry in self.client.devices():
            failed += sum(measured.errors for model in entry.models for measured in model.measured)
            failed += entry.dropped.get("rows_failed", 0)
            failed += max(0, self._unserved(entry) - self.unserved_before.get(entry.device, 0))
        return failed

    def inferences(self) -> int:
        """Returns the number of inferences that devices have reported."""
        devices = self.client.devices()
        return sum(m.inferences for entry in devices for model in entry.models for m in model.measured)

    def running(self, release: int) -> list[str]:
        """Returns the devices whose stable version is `release`."""
        devices = self.client.devices()
        return [entry.device for entry in devices for model in entry.models if model.stable_release == release]

    def wait_for_devices(self) -> None:
        """Waits until all devices are online."""

        def all_online() -> bool:
            online = [entry for entry in self.client.devices() if entry.presence == "online"]
            return len(online) == len(self.site.agents)

        wait_for("all devices online", all_online)

    def _push(self, trained: tuple[Any, Any], title: str) -> Chapter:
        model, sample = trained
        version = self.client.push(model, name=MODEL, sample=sample, tags={"demo": title})
        chapter = Chapter(version.release, title, size_bytes=version.size_bytes)
        self.chapters.append(chapter)
        self.tell(f"v{chapter.release} ({title}) is converted to ONNX: {version.gates[0].detail}")
        chapter.accuracy_before = self._accuracy_of_fleet()
        return chapter

    def _roll_out(
        self, chapter: Chapter, strategy: dict[str, Any], meanwhile: Callable[[Rollout], None] | None = None
    ) -> None:
        handle = self.client.rollout(MODEL, release=chapter.release, strategy=strategy)
        told: dict[str, str] = {}
        until = time.monotonic() + WITHIN_S
        for view in handle.watch(poll_s=0.1):
            self._tell_changes(view, told)
            for name in self.site.supervise():
                self.tell(f"{name} has restarted")
            if meanwhile is not None:
                meanwhile(view)
            if time.monotonic() > until:
                raise BadInput(Code.ROLLOUT_CONFLICT, f"v{chapter.release} is still {view.status}: {view.counts}")
            chapter.status, chapter.reason = view.status, view.reason

    def _tell_changes(self, view: Rollout, told: dict[str, str]) -> None:
        if view.reason and told.get("reason") != view.reason:
            told["reason"] = view.reason
            self.tell(f"the rollout has stopped: {view.reason}")
        for member in view.members:
            if member.outcome == "waiting":
                continue
            phase = member.phase if member.outcome == "pending" else member.outcome
            if phase and told.get(member.device) != phase and (phase, told.get(member.device)) != ("steady", None):
                told[member.device] = phase
                why = f" ({member.code}: {member.detail})" if phase == "failed" else ""
                self.tell(f"  wave {member.wave + 1}  {member.device}  v{view.release} {phase}{why}")

    def _kill_one(self, view: Rollout) -> None:
        if self.killed:
            return
        for member in view.members:
            if member.wave > 0 and member.phase in ("fetching", "probing", "trial"):
                self.killed = member.device
                self.tell(f"kill -9 {member.device} in phase {member.phase}")
                self.site.agents[member.device].kill()
                return

    def _close(self, chapter: Chapter, *, after: int) -> Chapter:
        chapter.devices = self.running(chapter.release)
        chapter.accuracy_after = self._accuracy_of_release(after)
        return chapter

    def _accuracy_of_fleet(self) -> float | None:
        stable = [chapter.release for chapter in self.chapters[:-1] if chapter.status == "completed"]
        return self._accuracy_of_release(stable[-1]) if stable else None

    def _accuracy_of_release(self, release: int) -> float | None:
        labelled, correct = 0, 0.0
        for entry in self.client.devices():
            for measured in (m for model in entry.models for m in model.measured):
                if measured.release == release and measured.accuracy is not None:
                    labelled += measured.labelled
                    correct += measured.accuracy * measured.labelled
        return correct / labelled if labelled else None

    @staticmethod
    def _unserved(entry: Device) -> int:
        return entry.dropped.get("rows_unserved", 0)
