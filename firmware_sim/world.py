"""A fleet in virtual time: real agents and the real reconcile; simulated flash, power and links; faults that end.

Decides when each device boots and when each fault begins and ends. All random numbers come from one seed, in named
streams. Refuses to judge the histories that it records.
"""

import hashlib
from collections.abc import Callable
from random import Random

from agent.stimuli import Intervals
from controller.reconcile.world import FromDevice
from firmware_sim import power
from firmware_sim.cards import CardFault, Seen, arrange_card_fault
from firmware_sim.clock import Clock, late_stream, stream
from firmware_sim.controller import SimController
from firmware_sim.device import Device, Habits
from firmware_sim.flash import Flash
from firmware_sim.forged import saying_that_it_runs_another
from firmware_sim.models import SimModel, SimRuntime, make_model
from firmware_sim.network import Network, SimLink
from firmware_sim.power import Power
from firmware_sim.real_models import RealRuntime, make_real_model
from firmware_sim.scenario import (
    BrokerForgets,
    BrokerLost,
    Brownout,
    ControllerCrashes,
    ControllerDies,
    ControllerRestored,
    CrashLoop,
    DamagedBlob,
    DiskFails,
    Partition,
    Release,
    Scenario,
    Storm,
    Stratum,
    UnknownRelease,
    WorldFault,
)
from firmware_sim.sensors import Hours, SimSensor

ROLLOUT_RETRY_S = 30.0
BOOT_SPREAD_S = 20.0


class FleetWorld:
    """The state of one run: devices, controller, network, clock."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario = scenario
        self.seed = seed
        self.clock = Clock()
        self.network = Network(self.clock, scenario.network)
        self.controller = SimController(self.clock, self.network, scenario.reconcile_s)
        self._real = scenario.runtime == "onnxruntime"
        numbered = enumerate(scenario.release, start=1)
        self.models = {number: _model(number, release, real=self._real) for number, release in numbered}
        self.strata: dict[str, Stratum] = {}
        self.devices: dict[str, Device] = {}
        self._copies: dict[str, Callable[[Random], Device]] = {}
        self.seen = Seen()
        self.hit: set[str] = set()
        """Devices with their own fault."""
        self._faulty = True
        self._shared_hours = Hours(late_stream(seed, "hours"))
        for number in range(scenario.devices):
            self._add_device(number)
        for number, release in enumerate(scenario.release, start=1):
            self._roll_out_at(release.at_s, number)
        for fault in scenario.fault:
            if isinstance(fault, CardFault):
                self.hit.update(arrange_card_fault(self, fault))
            else:
                self._arrange(fault)
        self.clock.at(scenario.heal_at_s, self._heal)

    def run(self) -> None:
        """Runs to the end of the scenario."""
        self.clock.run(self.scenario.ends_at_s)

    def trace_hash(self) -> str:
        """Returns the SHA-256 (hex) of every history: one scenario and one seed give the same digest in any process."""
        sha = hashlib.sha256()
        for name, device in self.devices.items():
            for moment in device.history:
                sha.update(f"{name}|{moment.at:.6f}|{moment.boots}|{moment.serving}|".encode())
                sha.update(moment.raw_record)
        for at, rollout in self.controller.history:
            sha.update(f"{at:.6f}|{rollout.id}|{rollout.status}|{rollout.wave}|{rollout.reason}\n".encode())
        sha.update(f"{self.clock.events}|{self.network.messages}".encode())
        return sha.hexdigest()

    def new_copy(self, name: str, rng: Random) -> Device:
        """Returns a second device under a name, which is off and whose card is empty."""
        return self._copies[name](rng)

    @property
    def updates(self) -> int:
        """The number of updates that devices have finished, successful or not."""
        return sum(
            before.record.outcome != after.record.outcome
            for device in self.devices.values()
            for before, after in zip(device.history, device.history[1:], strict=False)
        )

    def _add_device(self, number: int) -> None:
        scenario, name = self.scenario, f"d{number:05d}"
        stratum = self._stratum_of(number)
        flash = Flash(late_stream(self.seed, f"device/{number}/flash"), Power(self._plan(number)), stratum.flash_bytes)
        link = SimLink(self.network, name, stream(self.seed, f"device/{number}/link"))
        link.loss = stratum.loss
        link.bandwidth_bytes_s = stratum.bandwidth_bytes_s
        habits = Habits(
            Intervals(scenario.heartbeat_s, scenario.telemetry_s, scenario.judge_s),
            scenario.sample_every_s,
            (("stratum", stratum.name),),
            stratum.flash_operation_s,
            stratum.utc_offset_h,
        )
        models = tuple(
            self._model_for(model, release, stratum)
            for model, release in zip(self.models.values(), scenario.release, strict=True)
        )
        signal = stratum.sensor or scenario.sensor
        device = Device(
            name,
            self.clock,
            flash=flash,
            link=link,
            models=models,
            habits=habits,
            sensor=SimSensor(
                signal, late_stream(self.seed, f"device/{number}/sensor"), stratum.utc_offset_h, self._shared_hours
            ),
            new_runtime=RealRuntime if self._real else SimRuntime,
        )
        device.faulty = lambda: self._faulty
        self.strata[name] = stratum
        self.devices[name] = device
        self._copies[name] = lambda rng: Device(
            name,
            self.clock,
            flash=Flash(rng, Power(power.never()), stratum.flash_bytes),
            link=SimLink(self.network, name, rng),
            models=models,
            habits=habits,
            new_runtime=RealRuntime if self._real else SimRuntime,
        )
        boot_rng = stream(self.seed, f"device/{number}/boot")
        self.clock.at(boot_rng.random() * BOOT_SPREAD_S, device.boot)
        if stratum.offline_every_s is not None:
            self._offline_later(link, stratum, boot_rng.random() * stratum.offline_every_s)

    def _stratum_of(self, number: int) -> Stratum:
        place, total = (number + 0.5) / self.scenario.devices, 0.0
        for stratum in self.scenario.stratum:
            total += stratum.fraction
            if place <= total:
                return stratum
        return self.scenario.stratum[-1]

    def _model_for(self, model: SimModel, release: Release, stratum: Stratum) -> SimModel:
        spared = release.only_stratum not in ("", stratum.name)
        return model.behaving("good") if spared else model

    def _plan(self, number: int) -> power.Plan:
        brownouts = [fault for fault in self.scenario.fault if isinstance(fault, Brownout)]
        if not brownouts:
            return power.never()
        rng = stream(self.seed, f"device/{number}/power")
        probability, burst = brownouts[0].probability, brownouts[0].burst
        random_cut = power.in_bursts(probability, burst, rng) if burst else power.at_random(probability, rng)
        return lambda operation: self._faulty and random_cut(operation)

    def _offline_later(self, link: SimLink, stratum: Stratum, delay_s: float) -> None:
        def leave() -> None:
            if self._faulty and stratum.offline_every_s is not None:
                link.set_reachable(False)
                self.clock.after(stratum.offline_for_s, lambda: link.set_reachable(True))
                self._offline_later(link, stratum, stratum.offline_every_s)

        self.clock.after(delay_s, leave)

    def _roll_out_at(self, at_s: float, release: int) -> None:
        strategy = self.scenario.release[release - 1].strategy or self.scenario.strategy

        def start() -> None:
            if not self.controller.start_rollout(self.models[release], strategy):
                self._roll_out_at(self.clock.now + ROLLOUT_RETRY_S, release)

        self.clock.at(at_s, start)

    def _arrange(self, fault: WorldFault) -> None:
        match fault:
            case Partition(at_s=at_s, for_s=for_s, fraction=fraction):
                rng = stream(self.seed, f"partition/{at_s}")
                cut_off = [device.link for device in self.devices.values() if rng.random() < fraction]
                self.clock.at(at_s, lambda: _reach(cut_off, reachable=False))
                self.clock.at(at_s + for_s, lambda: _reach(cut_off, reachable=True))
            case Storm(at_s=at_s):
                self.clock.at(at_s, self._storm)
            case UnknownRelease(at_s=at_s, instead_of=release, fraction=fraction):
                self._put_words_in_mouths(at_s, self.models[release].manifest.artifact.sha256, fraction)
            case CrashLoop(release=release):
                digest = self.models[release].manifest.artifact.sha256
                for device in self.devices.values():
                    device.crashes_on = digest
            case Brownout():
                pass  # acts in the devices' power since they were made
            case _:
                self._arrange_for_the_controller(fault)

    def _arrange_for_the_controller(
        self,
        fault: ControllerDies
        | ControllerCrashes
        | ControllerRestored
        | DiskFails
        | BrokerForgets
        | BrokerLost
        | DamagedBlob,
    ) -> None:
        match fault:
            case ControllerDies() | ControllerCrashes() | ControllerRestored() | DiskFails():
                self._arrange_controllers(fault)
            case BrokerForgets(at_s=at_s):
                self.clock.at(at_s, self._forget)
            case BrokerLost(at_s=at_s, for_s=for_s):
                self.clock.at(at_s, self._lose_broker)
                self.clock.at(at_s + for_s, self._broker_returns)
            case DamagedBlob(at_s=at_s, for_s=for_s, release=release):
                damaged, digest = self.controller.blobs.damaged, self.models[release].manifest.artifact.sha256
                self.clock.at(at_s, damaged.add, digest)
                self.clock.at(at_s + for_s, damaged.discard, digest)

    def _arrange_controllers(self, fault: ControllerDies | ControllerCrashes | ControllerRestored | DiskFails) -> None:
        match fault:
            case ControllerDies(at_s=at_s, for_s=for_s):
                self.clock.at(at_s, self.controller.kill)
                self.clock.at(at_s + for_s, self.controller.start)
            case ControllerCrashes(probability=probability, for_s=for_s):
                deaths = stream(self.seed, "controller/process")
                self.controller.back_after_s = for_s
                self.controller.faults.dies = lambda: self._faulty and deaths.random() < probability
            case ControllerRestored():
                self._restore_from_backup(fault)
            case DiskFails(at_s=at_s, for_s=for_s, probability=probability):
                self._fail_writes(at_s, at_s + for_s, probability)

    def _restore_from_backup(self, fault: ControllerRestored) -> None:
        backed_up_s = stream(self.seed, "backup").uniform(fault.backup_after_s, fault.backup_before_s)
        self.clock.at(backed_up_s, self.controller.back_up)
        self.clock.at(fault.at_s, self.controller.kill)
        self.clock.at(fault.at_s + fault.for_s, self.controller.restore_backup)

    def _fail_writes(self, first_s: float, last_s: float, probability: float) -> None:
        refusals, faults = stream(self.seed, f"controller/disk/{first_s}"), self.controller.faults
        before = faults.disk_fails

        def fails() -> bool:
            now = self._faulty and first_s <= self.clock.now < last_s
            return before() or (now and refusals.random() < probability)

        faults.disk_fails = fails

    def _storm(self) -> None:
        for device in self.devices.values():
            device.link.set_reachable(False)
            device.link.set_reachable(True)

    def _forget(self) -> None:
        self.network.retained.clear()
        self._storm()
        if self.network.controller_up:
            self.controller.restore()

    def _lose_broker(self) -> None:
        self.network.set_broker(up=False)
        _reach([device.link for device in self.devices.values()], reachable=False)

    def _broker_returns(self) -> None:
        self.network.set_broker(up=True)
        _reach([device.link for device in self.devices.values()], reachable=True)
        if self.network.controller_up:
            self.controller.restore()

    def _put_words_in_mouths(self, at_s: float, digest: str, fraction: float) -> None:
        rng = stream(self.seed, f"unknown_release/{at_s}")
        moved = {name for name in self.devices if rng.random() < fraction}
        self.hit |= moved

        def hears(device: str, message: FromDevice) -> FromDevice:
            forged = self._faulty and self.clock.now >= at_s and device in moved
            return saying_that_it_runs_another(message, digest) if forged else message

        self.controller.hears = hears

    def _heal(self) -> None:
        self._faulty = False
        self.controller.blobs.damaged.clear()
        self.network.conditions = self.network.conditions.calm()
        for device in self.devices.values():
            device.link.loss = None
            device.link.set_reachable(True)


def _reach(links: list[SimLink], *, reachable: bool) -> None:
    for link in links:
        link.set_reachable(reachable)


def _model(number: int, release: Release, *, real: bool) -> SimModel:
    if real:
        return make_real_model(number, release.behaviour)
    return make_model(number, release.behaviour, release.size_bytes)
