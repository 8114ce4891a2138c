"""Semantic versions of models, beside their integer numbers.

One rule: compared with the version before it, a version raises the major number if its callers must change
(`contract.interface`), else the minor number if it adds an output or was made of other data, parameters or another
estimator, else the patch number. Unknown values count as different. Refuses to know who calls the model.
"""

import re
from collections.abc import Iterable

from contract.interface import interface_change
from controller.registry.version import Version

FIRST = "1.0.0"
_SEMVER = re.compile(r"(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\Z")


def next_semver(before: Version | None, now: Version) -> str:
    """The semantic version of `now`; `before` is the model's version before it, None for the first one."""
    if before is None or not is_semver(before.semver):
        return FIRST
    major, minor, patch = (int(part) for part in before.semver.split("."))
    if interface_change(before.manifest, now.manifest):
        return f"{major + 1}.0.0"
    if _adds_output(before, now) or not _trained_alike(before, now):
        return f"{major}.{minor + 1}.0"
    return f"{major}.{minor}.{patch + 1}"


def is_semver(text: str) -> bool:
    """Whether a text is `MAJOR.MINOR.PATCH`."""
    return _SEMVER.match(text) is not None


def newest_of(semver: str, versions: Iterable[Version]) -> int | None:
    """The newest release with a semantic version; None if there is none."""
    return max((each.release for each in versions if each.semver == semver), default=None)


def _adds_output(before: Version, now: Version) -> bool:
    known = {tensor.name for tensor in before.manifest.outputs}
    return any(tensor.name not in known for tensor in now.manifest.outputs)


def _trained_alike(before: Version, now: Version) -> bool:
    old, new = before.lineage, now.lineage
    data = old.data is not None and new.data is not None and old.data.sha256 == new.data.sha256
    return data and (old.estimator, old.params) == (new.estimator, new.params)
