"""A folder that proves the origin of a version: its bytes, the facts about it, statement and signed metadata.

Decides the names of files and how they are read. Refuses to know how they are verified (`verify`).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from contract.errors import BadInput, Code
from contract.lineage import MAX_STATEMENT_BYTES, SignedLineage
from contract.protocol import MAX_METADATA_BYTES
from contract.wire import decode_plain, encode
from edgeward.exports.exported import DESCRIBED, GOLDEN, MODEL, Exported
from edgeward.files import write_whole

STATEMENT, METADATA = "lineage.json", "metadata.json"
MAX_FILES_BYTES = 64 * MAX_METADATA_BYTES
"""The largest `metadata.json`: every root of a fleet, and the role of one model."""
MAX_MODEL_BYTES = 1 << 30


@dataclass(frozen=True)
class Provenance:
    """The files of such a folder, read and not yet verified."""

    model: bytes
    golden: bytes
    described: dict[str, Any]
    """The facts about the version, for people; each part is compared with the signed one."""
    signed: SignedLineage
    metadata: dict[str, str]
    """Documents of the fleet's metadata by file name, as they were signed."""


def write_provenance(
    exported: Exported, signed: SignedLineage, metadata: Mapping[str, str], directory: Path, role: str
) -> int:
    """Writes the folder and returns its bytes. `role` is the file name of the model's role; others are left out.

    BadInput `request_invalid` if the directory is not empty.
    """
    if directory.exists() and any(directory.iterdir()):
        raise BadInput(Code.REQUEST_INVALID, f"{directory} is not empty: name a new directory")
    kept = {name: text for name, text in metadata.items() if not name.startswith("models-") or name == role}
    files = {
        MODEL: exported.files[MODEL],
        GOLDEN: exported.files[GOLDEN],
        DESCRIBED: exported.described,
        STATEMENT: encode(signed),
        METADATA: json.dumps(kept, sort_keys=True).encode(),
    }
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        write_whole(directory / name, content)
    return sum(map(len, files.values()))


def read_provenance(directory: Path) -> Provenance:
    """The folder's files. BadInput `request_invalid` names one that is missing or cannot be read."""
    try:
        signed = msgspec.json.decode(_read(directory, STATEMENT, 2 * MAX_STATEMENT_BYTES), type=SignedLineage)
        metadata = msgspec.json.decode(_read(directory, METADATA, MAX_FILES_BYTES), type=dict[str, str])
    except msgspec.MsgspecError as error:
        words = f"{directory}: {STATEMENT} or {METADATA} cannot be read: {error}"
        raise BadInput(Code.REQUEST_INVALID, words[:300]) from None
    described = decode_plain(_read(directory, DESCRIBED, MAX_FILES_BYTES), max_bytes=MAX_FILES_BYTES)
    if not isinstance(described, dict):
        raise BadInput(Code.REQUEST_INVALID, f"{directory}: {DESCRIBED} is no JSON object")
    model, golden = (_read(directory, name, MAX_MODEL_BYTES) for name in (MODEL, GOLDEN))
    return Provenance(model, golden, described, signed, metadata)


def _read(directory: Path, name: str, max_bytes: int) -> bytes:
    path = directory / name
    if not path.is_file():
        words = f"{directory} has no {name}: write such a folder with edgeward lineage export"
        raise BadInput(Code.REQUEST_INVALID, words)
    if path.stat().st_size > max_bytes:
        raise BadInput(Code.MESSAGE_TOO_LARGE, f"{path}: more than {max_bytes} bytes")
    return path.read_bytes()
