"""The outside of a skops file: a zip archive whose schema names objects and the arrays beside it.

Decides what is refused before any object is built: more bytes, entries or objects than a model has, two entries of
one name, entries that are links or lie elsewhere, and objects that contain themselves or each other. Refuses to
know types: `trusted_types` does.
"""

import io
import json
import stat
import zipfile
from typing import Any

from contract.errors import BadInput, Code
from contract.protocol import MAX_MODEL_BYTES

SCHEMA = "schema.json"
MAX_ENTRIES = 100_000
"""Arrays of one model: a forest of 10,000 trees has 50,000."""
MAX_SCHEMA_BYTES = 256 << 20
"""A forest of 10,000 trees takes 155 MB."""
MAX_OBJECTS = 5_000_000
"""The most objects of one model. A shared object is counted at each place, because skops reads it each time. A
forest of 10,000 trees has 600,000. Forty lists, each with the list before it twice, have a million million.
"""
_CACHED = "CachedNode"


def check_archive(raw: bytes) -> None:
    """BadInput `request_invalid` for an archive that no model needs; raises as `zipfile` and `json` do for other
    data.
    """
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        entries = archive.infolist()
        if words := _why_not(entries):
            raise BadInput(Code.REQUEST_INVALID, f"not a skops file that is taken: {words}")
        schema = json.loads(archive.read(SCHEMA))
    count = _Objects().count(schema)
    if count > MAX_OBJECTS:
        raise BadInput(Code.REQUEST_INVALID, f"not a skops file that is taken: more than {MAX_OBJECTS} objects")


def _why_not(entries: list[zipfile.ZipInfo]) -> str:
    names, size_bytes = {entry.filename for entry in entries}, sum(entry.file_size for entry in entries)
    schema_bytes = max((entry.file_size for entry in entries if entry.filename == SCHEMA), default=0)
    if len(entries) > MAX_ENTRIES:
        return f"{len(entries)} entries, limit {MAX_ENTRIES}"
    if len(names) < len(entries):
        return "two of its entries have one name"
    if size_bytes > MAX_MODEL_BYTES:
        return f"unpacked it has {size_bytes} bytes, limit {MAX_MODEL_BYTES}"
    if schema_bytes > MAX_SCHEMA_BYTES:
        return f"its schema has {schema_bytes} bytes, limit {MAX_SCHEMA_BYTES}"
    strange = next((entry.filename for entry in entries if not _is_plain(entry)), None)
    return "" if strange is None else f"{strange[:80]!r} is no plain file inside it"


def _is_plain(entry: zipfile.ZipInfo) -> bool:
    mode = entry.external_attr >> 16
    parts = entry.filename.replace("\\", "/").split("/")
    return (not stat.S_IFMT(mode) or stat.S_ISREG(mode)) and not {"", ".", ".."} & set(parts)


class _Objects:
    """Counts objects of a schema as a reader meets them. A shared one refers to one that came before by its number."""

    def __init__(self) -> None:
        self._counts: dict[Any, int] = {}
        self._open: set[Any] = set()

    def count(self, node: Any) -> int:
        """The number of objects that the node represents. BadInput `request_invalid` for one that contains itself."""
        if isinstance(node, list):
            return sum(self.count(each) for each in node)
        if not isinstance(node, dict):
            return 0
        number = str(node.get("__id__"))
        if node.get("__loader__") == _CACHED:
            if number in self._open:
                raise BadInput(Code.REQUEST_INVALID, "not a skops file that is taken: an object contains itself")
            return self._counts.get(number, 1)
        self._open.add(number)
        found = 1 + sum(self.count(each) for each in node.values())
        self._open.discard(number)
        self._counts[number] = max(found, self._counts.get(number, 0))
        return found
