"""The admission of verified documents: the checks that need stored values, the time or the other authority's document.

Decides whether to refuse or admit. Refuses to know how signatures are checked (contract.trust) or records are kept.
"""

from collections.abc import Mapping
from datetime import datetime

from agent.core.events import DesiredChanged, DesiredRefused
from agent.core.model import Assignment
from contract.errors import BadInput, Code
from contract.trust.verified import Desired, ModelRole, Wanted
from contract.wire import Message


class HighWater(Message, frozen=True):
    """The values that a device keeps of its director. They are durable before the device acts on a document.

    They are valid while the director's keys are valid. A version or time that a stolen key has raised is dropped
    when keys rotate.
    """

    keyids: tuple[str, ...] = ()
    version: int = 0
    digest: str = ""
    issued: str = ""
    """The newest time that this director has signed. The device treats its clock as never behind it."""


def check_document(
    document: Desired, *, device: str, high_water: HighWater, keyids: tuple[str, ...], now: datetime, nonce: str = ""
) -> HighWater:
    """Returns the new high-water mark. BadInput: `wrong_device`, `desired_expired`, `desired_rollback`,
    `desired_equivocation`, `desired_not_fresh` (with a `nonce`, only a document that contains it is accepted).
    """
    if document.device != device:
        raise BadInput(Code.WRONG_DEVICE, f"document for {document.device[:64]!r}, this is {device!r}")
    before = high_water if high_water.keyids == keyids else HighWater(keyids=keyids)
    floor = datetime.fromisoformat(before.issued) if before.issued else now
    if document.expires <= max(now, floor):
        raise BadInput(Code.DESIRED_EXPIRED, f"expired {document.expires.isoformat()}")
    if document.version < before.version:
        raise BadInput(Code.DESIRED_ROLLBACK, _older(document.version, before.version))
    if document.version == before.version and document.digest != before.digest:
        raise BadInput(Code.DESIRED_EQUIVOCATION, f"a second document with version {document.version}")
    if nonce and document.nonce != nonce:
        raise BadInput(Code.DESIRED_NOT_FRESH, f"version {document.version} does not repeat this boot's nonce")
    issued = max(document.issued, floor if before.issued else document.issued).isoformat()
    return HighWater(keyids=keyids, version=document.version, digest=document.digest, issued=issued)


def _older(version: int, known: int) -> str:
    """The usual cause of an older document: a broker was restored with older data. Rarely it is an attack."""
    return (
        f"version {version}, {known} was accepted before: a broker that has restarted from an older store sends it, "
        f"until the controller has published again, within seconds; if it goes on, somebody replays it"
    )


def assign(want: Wanted, role: ModelRole, min_release: int, machine: str) -> Assignment:
    """Joins director and release signer. BadInput: `not_in_image_repo`, `image_mismatch`, `below_min_release`,
    `wrong_hardware`. `min_release`: the highest minimum that was ever signed for this device.
    """
    manifest = role.manifests.get(want.release)
    if manifest is None:
        raise BadInput(Code.NOT_IN_IMAGE_REPO, f"{want.model} v{want.release} is not in the model role")
    form = manifest.form(want.sha256)
    if form is None or want.length != form.artifact.length:
        raise BadInput(Code.IMAGE_MISMATCH, f"{want.model} v{want.release}: other length or digest than released")
    floor = max(role.min_release, min_release)
    if want.release < floor:
        raise BadInput(Code.BELOW_MIN_RELEASE, f"{want.model} v{want.release}: nothing older than v{floor} may run")
    if machine not in manifest.hardware:
        raise BadInput(Code.WRONG_HARDWARE, f"released for {', '.join(manifest.hardware)}; this is {machine}")
    custom = want.custom
    return Assignment(
        model=want.model,
        generation=custom.generation,
        manifest=form,
        policy=custom.policy,
        delivery=custom.delivery,
        sources=custom.sources,
    )


def told(assignment: Assignment, pinned: Mapping[str, int]) -> DesiredChanged | DesiredRefused:
    """Returns the event of an admitted assignment.

    The device's own configuration may fix a model at another release.
    """
    release = pinned.get(assignment.model, assignment.manifest.release)
    if release == assignment.manifest.release:
        return DesiredChanged(assignment)
    return DesiredRefused(assignment, Code.PINNED, f"this device holds {assignment.model} at v{release}")
