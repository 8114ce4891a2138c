"""Updates of a single device, each with its expected result, with any power cuts in between."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from contract import topics
from contract.blobs import Blob, chunk_list, describe, split
from contract.desired import Delivery, DesiredTarget, TrialPolicy
from contract.encoding import ENCODING
from contract.trust.documents import sign_desired
from contract.trust.repository import trust_bundle
from contract.trust.verified import Wanted
from contract.wire import encode
from controller.encode.encode import encode_artifact
from firmware_sim.clock import stream
from firmware_sim.fleet_keys import KEYS, WORLD_BEGAN, vouched
from firmware_sim.models import CHUNK_BYTES, SimModel, make_model
from firmware_sim.solo import NAME, Solo

POLICY = TrialPolicy(
    soak_s=Decimal(20),
    give_up_s=Decimal(200),
    boot_budget=5,
    min_samples=10,
    judged_inferences=100,
    max_accuracy_drop=Decimal("0.1"),
)


@dataclass(frozen=True, slots=True)
class Script:
    """A script for a device, the models in it, and the release that must be stable at the end (0: none)."""

    name: str
    models: tuple[SimModel, ...]
    script: Callable[[Solo], None]
    stable_at_end: int
    ends_at: float = 600.0


def publish(
    world: Solo, generation: int, release: int | None, models: tuple[SimModel, ...], delivery: Delivery | None = None
) -> None:
    """Publishes as the controller does: blobs, role, desired document, in this order."""
    for model in models:
        for data, blob in ((model.artifact, model.manifest.artifact), (model.golden, model.manifest.golden.blob)):
            _publish_blob(world, data, blob)
    manifests = {model.release: model.manifest for model in models}
    now = WORLD_BEGAN + timedelta(seconds=int(world.now))
    world.files = vouched(world.files, "m", manifests, now)
    world.offer(topics.model_role("m"), world.files["models-m.json"].encode())
    world.offer(topics.trust(), encode(trust_bundle(world.files)))
    wanted: tuple[Wanted, ...] = ()
    withdrawn = {"m": generation} if release is None else {}
    if release is not None:
        artifact = manifests[release].artifact
        custom = DesiredTarget(model="m", generation=generation, rollout="r", policy=POLICY, delivery=delivery)
        wanted = (Wanted("m", release, artifact.length, artifact.sha256, custom),)
    world.offer(topics.desired(NAME), desired_document(generation, wanted, withdrawn=withdrawn))


def desired_document(
    version: int, wanted: tuple[Wanted, ...], device: str = NAME, withdrawn: Mapping[str, int] | None = None
) -> bytes:
    """The desired document, signed by the director of all simulated fleets."""
    expires = WORLD_BEGAN + timedelta(days=7)
    return sign_desired(
        device,
        wanted,
        version=version,
        issued=WORLD_BEGAN,
        expires=expires,
        signer=KEYS.director,
        withdrawn=withdrawn,
    )


def _publish_blob(world: Solo, data: bytes, blob: Blob) -> None:
    world.offer(topics.chunk_list(blob.sha256), chunk_list(data, blob.chunk_bytes))
    for index, chunk in enumerate(split(data, blob.chunk_bytes)):
        world.offer(topics.chunk(blob.sha256, index), chunk)


_GOOD, _BETTER = make_model(1, "good"), make_model(2, "good")


def _first_then(second: SimModel, *, crash: bool = False) -> Callable[[Solo], None]:
    def script(world: Solo) -> None:
        models = (_GOOD, second)
        publish(world, 1, 1, models)
        world.run(120)
        world.device.crashes_on = second.manifest.artifact.sha256 if crash else ""
        publish(world, 2, 2, models)

    return script


def _superseded(world: Solo) -> None:
    models = (_GOOD, _BETTER, make_model(3, "good"))
    publish(world, 1, 1, models)
    world.run(120)
    publish(world, 2, 2, models)
    world.run(125)
    publish(world, 3, 3, models)


def _rolled_back_by_operator(world: Solo) -> None:
    _first_then(_BETTER)(world)
    world.run(240)
    publish(world, 3, 1, (_GOOD, _BETTER))


_BASE = stream(1, "scripts/base").randbytes(5000)
_CHANGED = _BASE[:1000] + stream(1, "scripts/change").randbytes(2000) + _BASE[2500:]
_PLAIN, _TUNED = make_model(1, "good", artifact=_BASE), make_model(2, "good", artifact=_CHANGED)


def _update_by_change(packed: bytes) -> Callable[[Solo], None]:
    """The second release is sent as a difference from the first; `packed` may be wrong."""
    blob = describe(packed, CHUNK_BYTES)
    delivery = Delivery(encoding=ENCODING, blob=blob, base=_PLAIN.manifest.artifact.sha256)

    def script(world: Solo) -> None:
        models = (_PLAIN, _TUNED)
        publish(world, 1, 1, models)
        world.run(120)
        _publish_blob(world, packed, blob)
        publish(world, 2, 2, models, delivery)

    return script


def _withdrawn(world: Solo) -> None:
    publish(world, 1, 1, (_GOOD,))
    world.run(120)
    publish(world, 2, None, (_GOOD,))


_WRONG = make_model(2, "wrong")
_RAISES = make_model(2, "raises")
_BREAKS = make_model(2, "breaks_probe")
_UNLOADABLE = make_model(2, "fails_to_load")

SCRIPTS = (
    Script("first_install", (_GOOD,), lambda world: publish(world, 1, 1, (_GOOD,)), 1),
    Script("update", (_GOOD, _BETTER), _first_then(_BETTER), 2),
    Script("wrong_answers", (_GOOD, _WRONG), _first_then(_WRONG), 1),
    Script("raises", (_GOOD, _RAISES), _first_then(_RAISES), 1),
    Script("breaks_probe", (_GOOD, _BREAKS), _first_then(_BREAKS), 1),
    Script("fails_to_load", (_GOOD, _UNLOADABLE), _first_then(_UNLOADABLE), 1),
    Script("crash_loop", (_GOOD, _BETTER), _first_then(_BETTER, crash=True), 1),
    Script("superseded", (_GOOD, _BETTER, make_model(3, "good")), _superseded, 3),
    Script("rolled_back_by_operator", (_GOOD, _BETTER), _rolled_back_by_operator, 1),
    Script("update_by_change", (_PLAIN, _TUNED), _update_by_change(encode_artifact(_CHANGED, _BASE)), 2),
    Script("update_by_a_lie", (_PLAIN, _TUNED), _update_by_change(encode_artifact(_CHANGED[::-1], _BASE)), 2),
    Script("withdrawn", (_GOOD,), _withdrawn, 0),
)
