"""Whether the files of a version are where they belong, and the sentence that names the repair if they are not.

Decides how cheaply that is found out: by the size of each file; only a blob that could not be published is read whole.
Refuses to know who asks, and what depends on the answer.
"""

from collections.abc import Iterator, Mapping

from contract.blobs import Blob
from contract.errors import BadInput, Code
from controller.broker.skipped import BLOB
from controller.registry.version import Version
from controller.state import State

REMEDY = "restore it from a backup, or push that version again"
SHOWN_DIGEST_CHARS = 12
"""Characters of a digest in a sentence: enough to tell apart all blobs of a registry."""


def unreadable(what: str, fault: str) -> BadInput:
    """Returns `store_corrupt` for a part of a version, as in "the golden set of m v2", with the repair."""
    return BadInput(Code.STORE_CORRUPT, f"{what} cannot be read ({fault.partition(';')[0]}): {REMEDY}")


def refuse_lost(state: State, version: Version) -> None:
    """Raises BadInput `store_corrupt` for a version with a file that is missing or damaged."""
    if words := lost_words(state, version):
        raise BadInput(Code.STORE_CORRUPT, words)


def lost_words(state: State, version: Version) -> str:
    """Returns the first missing or damaged file of a version and its repair as a sentence; empty if there is none."""
    for what, blob in _files(version):
        if fault := _fault(state, blob):
            return unreadable(what, f"blob {blob.sha256[:SHOWN_DIGEST_CHARS]} {fault}").detail
    return ""


def unpublished(state: State) -> dict[str, str]:
    """Returns the fault of each document and blob that could not be published. A blob is named with its version, and
    its fault with the repair.
    """
    owners = _owners(state)
    return dict(_shown(name, fault, owners) for name, fault in state.skipped.why.items())


def _shown(name: str, fault: str, owners: Mapping[str, tuple[str, int]]) -> tuple[str, str]:
    digest = name.removeprefix(BLOB)
    if digest == name:
        return name, fault
    of = " of {} v{}".format(*owners[digest]) if digest in owners else ""
    return f"blob {digest[:SHOWN_DIGEST_CHARS]}{of}", f"{fault.partition(';')[0]}: {REMEDY}"


def looks(state: State) -> dict[str, str]:
    """Returns the command that shows more about what could not be published, under the code of that finding."""
    owners = _owners(state)
    owned = [digest for name in sorted(state.skipped.why) if (digest := name.removeprefix(BLOB)) in owners]
    return {"not_published": "edgeward model show {}@{}".format(*owners[owned[0]])} if owned else {}


def _owners(state: State) -> dict[str, tuple[str, int]]:
    """Returns (model, release) by the digest of each blob and encoding of the versions that devices are told to run.
    Empty while every blob could be published.
    """
    if not any(name.startswith(BLOB) for name in state.skipped.why):
        return {}
    twins = state.world.durable.twins.values()
    wanted = {(model, each.release) for twin in twins for model, each in twin.desired.items()}
    found: dict[str, tuple[str, int]] = {}
    for model, release in sorted(wanted):
        if release in state.registry.registered.get(model, {}):
            version = state.registry.version(model, release)
            encoded = [each.blob.sha256 for each in state.deliveries.of(version.manifest)]
            found |= dict.fromkeys((*version.digests, *encoded), (model, release))
    return found


def _files(version: Version) -> Iterator[tuple[str, Blob]]:
    """Yields each file that a version needs: what it is, and its description."""
    named = f"{version.model} v{version.release}"
    forms = ("", *(f"the {each.name} form of " for each in version.manifest.variants))
    for of, form in zip(forms, version.manifest.forms, strict=True):
        yield f"the model of {of}{named}", form.artifact
        yield f"the golden set of {of}{named}", form.golden.blob


def _fault(state: State, blob: Blob) -> str:
    """Returns "is missing" or "is damaged"; empty for a blob that is well, as far as its size and its publication
    show.
    """
    try:
        size_bytes = state.blobs.path(blob.sha256).stat().st_size
    except OSError:
        return "is missing"
    if size_bytes != blob.length:
        return "is damaged"
    if BLOB + blob.sha256 not in state.skipped.why:
        return ""
    try:
        with state.blobs.opened(blob.sha256):
            return ""
    except BadInput:
        return "is damaged"
