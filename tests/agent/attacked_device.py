"""A simulated device with a simulated broker, and the messages of an attacker with the broker or with stolen keys."""

from datetime import datetime, timedelta
from random import Random

from securesystemslib.signer import CryptoSigner

from contract import topics
from contract.desired import DesiredTarget
from contract.manifest import Manifest
from contract.messages import Report
from contract.trust import repository
from contract.trust.documents import sign_desired
from contract.trust.verified import Wanted
from contract.wire import decode, encode
from firmware_sim.flash import Flash
from firmware_sim.fleet_keys import KEYS, TARGETS, WORLD_BEGAN, signer
from firmware_sim.models import make_model
from firmware_sim.scripts import POLICY, publish
from firmware_sim.solo import NAME, Broker, Solo

V1, V2, V3 = make_model(1, "good"), make_model(2, "good"), make_model(3, "good")
EVIL = make_model(9, "wrong")
MODELS = (V1, V2, V3)
ROLE = topics.model_role("m")


def attacked_device() -> Solo:
    """A device on which v1 is stable."""
    made = Solo(Flash(Random(1)), Broker(), (*MODELS, EVIL))
    publish(made, 1, 1, MODELS)
    made.run(120)
    assert made.device.serving == V1.manifest.artifact.sha256
    return made


def refusals(device: Solo) -> list[str]:
    """Returns codes in order; a repeated report counts once."""
    raws = (raw for topic, raw in device.broker.published if topic == topics.report(NAME))
    reports = {(report.boot, report.seq): report for report in (decode(raw, Report) for raw in raws)}
    return [report.refusal.code for report in reports.values() if report.refusal is not None]


def after(device: Solo, *messages: tuple[str, bytes], seconds: float = 60) -> list[str]:
    """Returns what the device has refused after these messages; v1 still serves."""
    known = len(refusals(device))
    for topic, payload in messages:
        device.offer(topic, payload)
    device.run(device.now + seconds)
    assert device.device.serving == V1.manifest.artifact.sha256, "stable must go on serving"
    return refusals(device)[known:]


def want(release: int, manifest: Manifest, generation: int) -> Wanted:
    custom = DesiredTarget(model="m", generation=generation, rollout="r", policy=POLICY)
    return Wanted("m", release, manifest.artifact.length, manifest.artifact.sha256, custom)


def desired(
    version: int,
    *wants: Wanted,
    device: str = NAME,
    by: CryptoSigner | None = None,
    days: float = 7,
    issued: datetime = WORLD_BEGAN,
    nonce: str = "",
) -> tuple[str, bytes]:
    expires = WORLD_BEGAN + timedelta(days=days)
    raw = sign_desired(
        device, wants, version=version, issued=issued, expires=expires, signer=by or KEYS.director, nonce=nonce
    )
    return topics.desired(NAME), raw


def bundled(files: dict[str, str]) -> tuple[str, bytes]:
    return topics.trust(), encode(repository.trust_bundle(files))


def date(device: Solo) -> datetime:
    return WORLD_BEGAN + timedelta(seconds=int(device.now))


def honest(device: Solo, version: int, release: int = 2) -> None:
    """Checks that an honest step succeeds: the device ends up running `release`."""
    publish(device, version, release, MODELS)
    device.run(device.now + 120)
    stable = device.device.record.stable
    assert stable is not None
    assert stable.manifest.release == release


def rotate_director(device: Solo) -> CryptoSigner:
    """The people with the targets key replace the director's."""
    new = signer("director-2")
    old = KEYS.director.public_key.keyid
    files = dict(device.files)
    files["targets.json"] = repository.rotate_director(files, old, new.public_key, TARGETS, date(device))
    device.files = repository.refresh(files, KEYS, date(device))
    device.offer(*bundled(device.files))
    device.run(device.now + 10)
    return new
