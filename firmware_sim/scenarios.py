"""Updates of a single device, each with the ending that it must reach whatever power does in between."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from contract import topics
from contract.blobs import Blob, chunk_list, split
from contract.desired import DesiredTarget, TrialPolicy
from contract.trust import Wanted, sign_desired, sign_model_role
from firmware_sim.device import NAME, Device
from firmware_sim.models import FAR, SIGNER, SimModel, make_model

POLICY = TrialPolicy(
    soak_s=Decimal(20),
    give_up_s=Decimal(200),
    boot_budget=5,
    min_samples=10,
    window=100,
    max_accuracy_drop=Decimal("0.1"),
)
ISSUED = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Scenario:
    """A script for a device, the models in it, and the release that must be stable at the end (0: none)."""

    name: str
    models: tuple[SimModel, ...]
    script: Callable[[Device], None]
    stable_at_end: int
    ends_at: float = 600.0


def publish(device: Device, generation: int, release: int | None, models: tuple[SimModel, ...]) -> None:
    """What the controller does: blobs, role, desired, in this order."""
    for model in models:
        for data, blob in ((model.artifact, model.manifest.artifact), (model.golden, model.manifest.golden.blob)):
            _publish_blob(device, data, blob)
    manifests = {model.release: model.manifest for model in models}
    device.offer(
        topics.model_role("m"), sign_model_role("m", manifests, version=generation, expires=FAR, signer=SIGNER)
    )
    wanted: tuple[Wanted, ...] = ()
    if release is not None:
        artifact = manifests[release].artifact
        custom = DesiredTarget(slot="m", generation=generation, rollout="r", policy=POLICY)
        wanted = (Wanted("m", release, artifact.length, artifact.sha256, custom),)
    document = sign_desired(NAME, wanted, version=generation, issued=ISSUED, expires=FAR, signer=SIGNER)
    device.offer(topics.desired(NAME), document)


def _publish_blob(device: Device, data: bytes, blob: Blob) -> None:
    device.offer(topics.chunk_list(blob.sha256), chunk_list(data, blob.chunk_bytes))
    for index, chunk in enumerate(split(data, blob.chunk_bytes)):
        device.offer(topics.chunk(blob.sha256, index), chunk)


_GOOD, _BETTER = make_model(1, "good"), make_model(2, "good")


def _first_then(second: SimModel, *, crash: bool = False) -> Callable[[Device], None]:
    def script(device: Device) -> None:
        models = (_GOOD, second)
        publish(device, 1, 1, models)
        device.run(120)
        device.crashes_on = second.manifest.artifact.sha256 if crash else ""
        publish(device, 2, 2, models)

    return script


def _superseded(device: Device) -> None:
    models = (_GOOD, _BETTER, make_model(3, "good"))
    publish(device, 1, 1, models)
    device.run(120)
    publish(device, 2, 2, models)
    device.run(125)
    publish(device, 3, 3, models)


def _rolled_back_by_operator(device: Device) -> None:
    _first_then(_BETTER)(device)
    device.run(240)
    publish(device, 3, 1, (_GOOD, _BETTER))


def _withdrawn(device: Device) -> None:
    publish(device, 1, 1, (_GOOD,))
    device.run(120)
    publish(device, 2, None, (_GOOD,))


_WRONG = make_model(2, "wrong")
_RAISES = make_model(2, "raises")
_BREAKS = make_model(2, "breaks_probe")
_UNLOADABLE = make_model(2, "fails_to_load")

SCENARIOS = (
    Scenario("first_install", (_GOOD,), lambda device: publish(device, 1, 1, (_GOOD,)), 1),
    Scenario("update", (_GOOD, _BETTER), _first_then(_BETTER), 2),
    Scenario("wrong_answers", (_GOOD, _WRONG), _first_then(_WRONG), 1),
    Scenario("raises", (_GOOD, _RAISES), _first_then(_RAISES), 1),
    Scenario("breaks_probe", (_GOOD, _BREAKS), _first_then(_BREAKS), 1),
    Scenario("fails_to_load", (_GOOD, _UNLOADABLE), _first_then(_UNLOADABLE), 1),
    Scenario("crash_loop", (_GOOD, _BETTER), _first_then(_BETTER, crash=True), 1),
    Scenario("superseded", (_GOOD, _BETTER, make_model(3, "good")), _superseded, 3),
    Scenario("rolled_back_by_operator", (_GOOD, _BETTER), _rolled_back_by_operator, 1),
    Scenario("withdrawn", (_GOOD,), _withdrawn, 0),
)
