"""Which verified documents a device acts on: the checks that need memory, time or the other document.

Decides refuse or admit. Refuses to know how signatures are checked (contract.trust) or records are kept.
"""

from collections.abc import Mapping
from datetime import datetime

from agent.core.model import Assignment
from contract.errors import BadInput, Code
from contract.manifest import Manifest
from contract.trust import Desired, Wanted
from contract.wire import Message


class HighWater(Message, frozen=True):
    """The newest desired document that was accepted; durable before anything is done about it."""

    version: int = 0
    digest: str = ""


def check_document(document: Desired, *, device: str, high_water: HighWater, today: datetime) -> HighWater:
    """The new high-water mark, or BadInput: `wrong_device`, `desired_expired`, `desired_rollback`, `..equivocation`."""
    if document.device != device:
        raise BadInput(Code.WRONG_DEVICE, f"document for {document.device[:64]!r}, this is {device!r}")
    if document.expires <= today:
        raise BadInput(Code.DESIRED_EXPIRED, f"expired {document.expires.isoformat()}")
    if document.version < high_water.version:
        raise BadInput(Code.DESIRED_ROLLBACK, f"version {document.version}, {high_water.version} was accepted before")
    if document.version == high_water.version and document.digest != high_water.digest:
        raise BadInput(Code.DESIRED_EQUIVOCATION, f"a second document with version {document.version}")
    return HighWater(version=document.version, digest=document.digest)


def assign(want: Wanted, manifests: Mapping[int, Manifest], machine: str) -> Assignment:
    """Join director and release signer; BadInput `not_in_image_repo`, `image_mismatch`, `wrong_hardware`."""
    manifest = manifests.get(want.release)
    if manifest is None:
        raise BadInput(Code.NOT_IN_IMAGE_REPO, f"{want.model} v{want.release} is not in the model role")
    if (want.length, want.sha256) != (manifest.artifact.length, manifest.artifact.sha256):
        raise BadInput(Code.IMAGE_MISMATCH, f"{want.model} v{want.release}: other length or digest than released")
    if machine not in manifest.hardware:
        raise BadInput(Code.WRONG_HARDWARE, f"released for {', '.join(manifest.hardware)}; this is {machine}")
    return Assignment(model=want.model, generation=want.custom.generation, manifest=manifest, policy=want.custom.policy)
