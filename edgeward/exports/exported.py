"""A version with its bytes, for every export: signature, model, golden set, origin.

Decides the names of files that all exports share. Refuses to know the format of a tool.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from contract.blobs import sha256_hex
from contract.errors import Code, WorldError
from contract.manifest import Manifest
from contract.wire import encode
from edgeward.answers.models import VersionDetail

MODEL, GOLDEN, DESCRIBED = "model.onnx", "golden.npz", "edgeward.json"


@dataclass(frozen=True, slots=True)
class Exported:
    """One version: what the controller knows about it, and its bytes by file name."""

    version: VersionDetail
    manifest: Manifest
    files: dict[str, bytes]
    """The full form as MODEL, its golden set as GOLDEN, smaller forms as `fp16.onnx`, `fp16-golden.npz`."""

    @property
    def described(self) -> bytes:
        """Everything that is known of the version, as JSON."""
        return encode(self.version.plain)

    @property
    def name(self) -> str:
        """The model's name and its semantic version, or its number where it has none."""
        return f"{self.version.model}-{self.version.semver or self.version.release}"


def collect(version: VersionDetail, fetch: Callable[[str], bytes]) -> Exported:
    """Fetches all blobs of a version by their digests. WorldError `digest_mismatch` if one arrived damaged."""
    manifest = msgspec.convert(version.manifest, Manifest)
    wanted: dict[str, str] = {}
    for name, form in zip(("", *(each.name for each in manifest.variants)), manifest.forms, strict=True):
        wanted[f"{name}.onnx" if name else MODEL] = form.artifact.sha256
        wanted[f"{name}-{GOLDEN}" if name else GOLDEN] = form.golden.blob.sha256
    files: dict[str, Any] = {name: fetch(digest) for name, digest in wanted.items()}
    for name, digest in wanted.items():
        if sha256_hex(files[name]) != digest:
            raise WorldError(Code.DIGEST_MISMATCH, f"{name} of {version.model} came damaged; try again")
    return Exported(version, manifest, files)
