"""A scenario: a simulated world as strict TOML. It names the devices, the releases, the faults, and when they end.

After `heal_at_s` no fault acts any more, and the remaining time must be enough for everything to converge.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from contract.desired import TrialPolicy
from contract.errors import BadInput, Code
from contract.toml_config import decode_toml
from contract.wire import Message
from controller.rollout.model import Strategy, Wave
from firmware_sim.cards import CardFault, Positive
from firmware_sim.models import Behaviour
from firmware_sim.network import Conditions, Probability, Seconds
from firmware_sim.sensors import Signal

Fraction = Annotated[float, msgspec.Meta(gt=0, le=1)]


class Release(Message, frozen=True):
    """A version that is rolled out to all devices."""

    at_s: Seconds
    behaviour: Behaviour
    size_bytes: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)] = 3000
    expect: Literal["completed", "rolled_back"] = "completed"
    only_stratum: str = ""
    """The behaviour shows in this stratum only; elsewhere the version is good."""
    strategy: Strategy | None = None
    """A value that replaces that of the scenario."""


class Stratum(Message, frozen=True):
    """A kind of device."""

    name: str
    fraction: Fraction = 1.0
    loss: Probability | None = None
    bandwidth_bytes_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    """The bandwidth of its links; 0: the network's."""
    offline_every_s: Positive | None = None
    offline_for_s: Positive = 60.0
    flash_operation_s: Seconds = 0.0
    """The time that one operation on flash takes."""
    flash_bytes: Annotated[int, msgspec.Meta(ge=1)] = 1 << 30
    utc_offset_h: Annotated[float, msgspec.Meta(ge=-12, le=14)] = 0.0
    """The time zone, which moves the seasons of its sensor."""
    sensor: Signal | None = None
    """A value that replaces that of the scenario."""


class Partition(Message, frozen=True, tag_field="kind", tag="partition"):
    """A fraction of the devices cannot reach the broker for some time."""

    at_s: Seconds
    for_s: Positive
    fraction: Fraction = 0.5


class Storm(Message, frozen=True, tag_field="kind", tag="storm"):
    """Every connection breaks at once."""

    at_s: Seconds


class ControllerDies(Message, frozen=True, tag_field="kind", tag="controller_dies"):
    """The controller is killed and starts again from its durable data."""

    at_s: Seconds
    for_s: Positive


class ControllerCrashes(Message, frozen=True, tag_field="kind", tag="controller_crashes"):
    """The controller may be killed at any write, message or acknowledgement of a pass, and starts again."""

    probability: Probability
    for_s: Positive = 5.0


class DiskFails(Message, frozen=True, tag_field="kind", tag="disk_fails"):
    """The controller's disk refuses writes for some time, each with this probability."""

    at_s: Seconds
    for_s: Positive
    probability: Annotated[float, msgspec.Meta(gt=0, le=1)] = 1.0


class ControllerRestored(Message, frozen=True, tag_field="kind", tag="controller_restored"):
    """The controller's disk is lost, and it starts again from a backup."""

    backup_after_s: Seconds
    backup_before_s: Seconds
    """The backup was made at a time between these two, which the seed draws."""
    at_s: Seconds
    for_s: Positive


class BrokerForgets(Message, frozen=True, tag_field="kind", tag="broker_forgets"):
    """The broker restarts and has lost all retained messages."""

    at_s: Seconds


class BrokerLost(Message, frozen=True, tag_field="kind", tag="broker_lost"):
    """The broker ends and returns later, with its retained messages."""

    at_s: Seconds
    for_s: Positive


class DamagedBlob(Message, frozen=True, tag_field="kind", tag="damaged_blob"):
    """The controller's disk has damaged the artifact of this release (from 1) until a backup returns."""

    at_s: Seconds
    for_s: Positive
    release: Annotated[int, msgspec.Meta(ge=1)]


class UnknownRelease(Message, frozen=True, tag_field="kind", tag="unknown_release"):
    """A fraction of the devices report that they run a release that the registry lacks, in place of release
    `instead_of`.

    Each came from another fleet, or the registry was restored, or the reports are false.
    """

    at_s: Seconds
    instead_of: Annotated[int, msgspec.Meta(ge=1)] = 1
    fraction: Fraction = 0.2


class CrashLoop(Message, frozen=True, tag_field="kind", tag="crash_loop"):
    """Devices lose power at the first row that this release (from 1) answers."""

    release: Annotated[int, msgspec.Meta(ge=1)]


class Brownout(Message, frozen=True, tag_field="kind", tag="brownout"):
    """Power may fail at any operation on flash, including recovery."""

    probability: Probability
    burst: Annotated[int, msgspec.Meta(ge=0, le=100)] = 0
    """After a cut each of the next so many operations fails with probability 0.5."""


WorldFault = (
    Partition
    | Storm
    | ControllerDies
    | ControllerCrashes
    | ControllerRestored
    | DiskFails
    | BrokerForgets
    | BrokerLost
    | DamagedBlob
    | UnknownRelease
    | CrashLoop
    | Brownout
)
Fault = WorldFault | CardFault
DeviceFault = UnknownRelease | CardFault
"""Faults of some devices, which must not affect any other device."""


class Scenario(Message, frozen=True):
    """A simulated world and its events."""

    name: str
    hours: Positive
    devices: Annotated[int, msgspec.Meta(ge=1, le=100_000)]
    heal_at_s: Seconds
    release: Annotated[tuple[Release, ...], msgspec.Meta(min_length=1, max_length=20)]
    network: Conditions = Conditions()
    sensor: Signal = Signal()
    runtime: Literal["simulated", "onnxruntime"] = "simulated"
    """onnxruntime: releases are real ONNX models in real sessions."""
    stratum: tuple[Stratum, ...] = (Stratum(name="all"),)
    fault: tuple[Fault, ...] = ()
    strategy: Strategy = Strategy(name="s", waves=(Wave(percent=100),))
    heartbeat_s: Positive = 60.0
    telemetry_s: Positive = 120.0
    judge_s: Positive = 5.0
    sample_every_s: Positive = 5.0
    reconcile_s: Positive = 10.0

    @property
    def ends_at_s(self) -> float:
        """Length of the run."""
        return self.hours * 3600

    @property
    def trial(self) -> TrialPolicy:
        """The trial policy that devices follow."""
        return self.strategy.trial


def load_scenario(path: Path) -> Scenario:
    """Reads and checks a scenario. BadInput `config_invalid` names the file, the key and what is allowed there."""
    try:
        scenario = decode_toml(path.read_text(encoding="utf-8"), Scenario, str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(Code.CONFIG_INVALID, f"{path}: {getattr(error, 'strerror', error)}") from None
    _check(scenario, path)
    return scenario


def encode_scenario(scenario: Scenario) -> bytes:
    """TOML that `load_scenario` reads back as the same scenario."""
    return msgspec.toml.encode(_without_none(msgspec.to_builtins(scenario)))


def _without_none(plain: Any) -> Any:
    if isinstance(plain, dict):
        return {key: _without_none(value) for key, value in plain.items() if value is not None}
    return [_without_none(value) for value in plain] if isinstance(plain, list | tuple) else plain


def _check(scenario: Scenario, path: Path) -> None:
    names = {stratum.name for stratum in scenario.stratum}
    if abs(sum(stratum.fraction for stratum in scenario.stratum) - 1.0) > 1e-6:
        raise BadInput(Code.CONFIG_INVALID, f"{path}: fractions of the strata must add up to 1")
    if scenario.heal_at_s >= scenario.ends_at_s:
        raise BadInput(Code.CONFIG_INVALID, f"{path}: heal_at_s must lie before the end ({scenario.ends_at_s:.0f} s)")
    for release in scenario.release:
        if release.only_stratum and release.only_stratum not in names:
            raise BadInput(Code.CONFIG_INVALID, f"{path}: only_stratum {release.only_stratum!r} is not a stratum")
        if release.only_stratum and scenario.runtime == "onnxruntime":
            raise BadInput(Code.CONFIG_INVALID, f"{path}: only_stratum needs the simulated runtime")
    for fault in scenario.fault:
        if isinstance(fault, CrashLoop) and fault.release > len(scenario.release):
            raise BadInput(Code.CONFIG_INVALID, f"{path}: crash_loop names release {fault.release}, there are fewer")
