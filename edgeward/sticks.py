"""Directories for devices without a broker: writes blobs and signed documents, and reads messages of devices.

Decides the order on the stick: a blob after its list, documents after the blobs that they name, each file complete
or absent. Refuses to know where the bytes come from.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from contract.blobs import chunk_list, sha256_hex
from contract.errors import BadInput, Code, EdgewardError, WorldError
from contract.stick import DOCUMENTS, MAX_MESSAGES_BYTES, StickDocuments, StickMessages
from contract.wire import decode, encode
from edgeward.answers.blob import Blob
from edgeward.files import write_whole

Fetch = Callable[[str], bytes]
"""The bytes of a blob, by its digest."""

_OF_ONE_BLOB = (Code.UNKNOWN_BLOB, Code.DIGEST_MISMATCH, Code.STORE_CORRUPT)
"""Faults that affect only one blob."""


def write_blobs(blobs: Iterable[Blob], directory: Path, fetch: Fetch) -> int:
    """Writes missing blobs, each under its digest with its list of chunks beside it; returns their bytes.

    WorldError `digest_mismatch` if one arrived damaged.
    """
    directory.mkdir(parents=True, exist_ok=True)
    return sum(_write_blob(blob, directory, fetch) for blob in blobs)


def write_good_blobs(blobs: Iterable[Blob], directory: Path, fetch: Fetch) -> tuple[int, dict[str, str]]:
    """As `write_blobs`, but a missing or damaged blob does not affect the others; returns (bytes, faults by blob)."""
    directory.mkdir(parents=True, exist_ok=True)
    written, missing = 0, {}
    for blob in blobs:
        try:
            written += _write_blob(blob, directory, fetch)
        except EdgewardError as error:
            if error.code not in _OF_ONE_BLOB:
                raise
            missing[f"blob {blob.sha256[:12]}"] = str(error)
    return written, missing


def write_documents(documents: Mapping[str, str], directory: Path) -> None:
    """Writes signed documents, by topic; after the blobs that they name."""
    write_whole(directory / DOCUMENTS, encode(StickDocuments(documents=dict(documents))))


def read_messages(path: Path) -> StickMessages:
    """Returns the messages of a device on a stick. BadInput `message_malformed`, `message_too_large` with the file's
    name.
    """
    try:
        return decode(path.read_bytes(), StickMessages, max_bytes=2 * MAX_MESSAGES_BYTES)
    except BadInput as error:
        raise BadInput(error.code, f"{path}: {error.detail}") from None


def _write_blob(blob: Blob, directory: Path, fetch: Fetch) -> int:
    path = directory / blob.sha256
    if path.exists() and sha256_hex(path.read_bytes()) == blob.sha256:
        return 0
    data = fetch(blob.sha256)
    if sha256_hex(data) != blob.sha256:
        raise WorldError(Code.DIGEST_MISMATCH, f"blob {blob.sha256[:12]} came damaged; try again")
    write_whole(directory / f"{blob.sha256}.list", chunk_list(data, blob.chunk_bytes))
    write_whole(path, data)
    return len(data)
