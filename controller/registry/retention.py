"""The rule by which blobs of old versions may be removed. Versions themselves are never removed.

Decides it by one rule: the blobs of a version stay while it is among the newest of its model, or while a device, a
rollout or an alias may still need them. Refuses to know where blobs are, and where the reasons come from.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from controller.registry.version import Version

GRACE_S = 86_400.0
"""Seconds between the mark that a version can no longer be started and the deletion of its blobs. A backup that began
before the mark is complete before the deletion: 1 TB takes three hours."""


@dataclass(frozen=True, slots=True)
class Retention:
    """The decision of the rule about each version of a model: why its blobs stay, or that they may be deleted."""

    kept: Mapping[int, str]
    """release -> the reason."""
    removable: Sequence[int]


def retained(versions: Iterable[Version], needed: Mapping[int, str], keep_newest: int) -> Retention:
    """Judges every version of one model; `needed` are those that something needs, with the reason.

    The newest version, and the newest `keep_newest` of those that passed, always stay. ValueError for fewer than 1.
    """
    if keep_newest < 1:
        raise ValueError(f"keep_newest is {keep_newest}: at least the newest version stays")
    known = sorted(versions, key=lambda version: version.release)
    passed = [version.release for version in known if version.passed][-keep_newest:]
    kept: dict[int, str] = {}
    for version in known:
        if version.release in needed:
            kept[version.release] = needed[version.release]
        elif version.release in passed or version is known[-1]:
            kept[version.release] = f"it is one of the newest {keep_newest}"
    return Retention(kept, [version.release for version in known if version.release not in kept])


def unshared(going: Iterable[Version], staying: Iterable[Version]) -> frozenset[str]:
    """Returns digests of blobs that only the versions in `going` have: a golden set or form may belong to several
    versions.
    """
    needed = frozenset[str]().union(*(version.digests for version in staying))
    return frozenset[str]().union(*(version.digests for version in going)) - needed
