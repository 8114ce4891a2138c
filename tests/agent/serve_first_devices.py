"""A complete simulated device whose disk refuses the writes that a test names."""

import errno
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any

from agent.adapters.late_link import LateLink
from agent.assembly import Assembly, Ports
from agent.config import Config, Device
from agent.core.model import Assignment, Record
from agent.flash.store import DeviceRecord, Store
from agent.stimuli import Identity, Woke
from contract.desired import TrialPolicy
from firmware_sim.clock import stream
from firmware_sim.flash import Flash
from firmware_sim.models import SimRuntime, make_model

NOW = 100.0
STABLE, TRIAL = make_model(1, "good"), make_model(2, "good")


def full_disk(_name: str) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


class RefusingFlash(Flash):
    """Flash that calls `refuse` before each write; an error that it raises refuses the write."""

    refuse: Callable[[str], None] = staticmethod(lambda _: None)

    def write(self, name: str, data: bytes) -> None:
        self.refuse(name)
        super().write(name, data)


def assigned(made: Any) -> Assignment:
    release = made.manifest.release
    return Assignment(model="m", generation=release, manifest=made.manifest, policy=TrialPolicy())


class TrialDevice:
    """A device with a confirmed version on flash, and one on trial if wanted."""

    boots = 7

    def __init__(self, *, trial: bool = False) -> None:
        self.flash = RefusingFlash(stream(1, "flash"))
        for made in (STABLE, TRIAL):
            self.flash.write(f"blob-{made.manifest.artifact.sha256}", made.artifact)
            self.flash.write(f"blob-{made.manifest.golden.blob.sha256}", made.golden)
        self.stable, self.trial = assigned(STABLE).digest, assigned(TRIAL).digest
        self.store = Store(self.flash)
        self.store.save_device(DeviceRecord(boots=self.boots))
        self.store.save_record("m", Record(stable=assigned(STABLE), trial=assigned(TRIAL) if trial else None))
        ports = Ports(
            disk=self.flash,
            link=LateLink(),
            runtime=SimRuntime((STABLE, TRIAL), self.flash.read, lambda _: None),
            enqueue=lambda _: None,
            wall_clock=lambda: datetime(2026, 6, 1, tzinfo=UTC),
            local_clock=lambda: datetime(2026, 6, 1, tzinfo=UTC),
            perf_s=lambda: 0.0,
            new_lock=nullcontext,
            random=lambda: 0.5,
            boot=1,
        )
        self._device = Assembly(Config(device=Device(name="d")), Identity("d", "sim", {}), ports)
        self.agent = self._device.agent

    @property
    def serving(self) -> str | None:
        """The digest of the version that answers."""
        serving = self._device.slot("m").serving
        return serving.assignment.digest if serving is not None else None

    def boot(self, refuse: Callable[[str], None]) -> None:
        """Boots the device while `refuse` decides about each write."""
        self.flash.refuse = refuse
        self.agent.boot(NOW)

    def mend(self) -> None:
        """Makes the disk accept all writes again."""
        self.flash.refuse = lambda _: None

    def wake(self, now: float) -> None:
        """Tells the agent that the time is `now`."""
        self.agent.receive(Woke(), now)
