"""The audit as a hash chain: each entry's hash covers the one before it, so that a changed or removed entry is found.

A chain alone does not show that its end was cut off, or that all of it was written again. Therefore signed metadata
contains a checkpoint, and every device stores it as a witness. Refuses to know where entries are kept.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from contract.wire import encode

FIRST = "0" * 64
FIELDS = ("at", "actor", "action", "subject", "detail")


def chained(before: str, entry: Mapping[str, Any]) -> str:
    """Returns the SHA-256 (hexadecimal) of `entry`, chained to the entry whose hash is `before`."""
    return hashlib.sha256(before.encode() + encode([str(entry[field]) for field in FIELDS])).hexdigest()


def checkpoint(count: int, newest: str) -> str:
    """Returns the checkpoint for signed metadata: the number of entries and the hash of the newest one."""
    return f"{count}:{newest}"


def faults(entries: Iterable[Mapping[str, Any]], witnesses: Iterable[str] = ()) -> list[str]:
    """Returns what is wrong with a whole audit, as sentences. `entries` begin with the oldest.

    Empty: nothing was changed.
    """
    found, before, hashes = [], FIRST, [FIRST]
    for number, entry in enumerate(entries, start=1):
        before = chained(before, entry)
        hashes.append(before)
        if entry["hash"] != before:
            found.append(f"entry {number} was changed, or one before it was taken out")
            break
    for witness in witnesses:
        count, _, newest = witness.partition(":")
        if not count.isdigit() or int(count) >= len(hashes):
            found.append(f"a witness knows {count} entries, there are {len(hashes) - 1}: the end was cut off")
        elif hashes[int(count)] != newest:
            found.append(f"a witness knows another entry {count}: the audit was written again")
    return found
