"""Fitted estimators of versions that this worker has pushed, beside its runs, for warm starts.

Decides that a file is named by the digest of the version's artifact, and how many are kept. They stay on the
worker's machine: an estimator can hold rows (neighbours, support vectors), and a controller with a copy could not
delete these rows. Refuses to know which estimators can continue (`warm`).
"""

from pathlib import Path
from typing import Any

from contract.errors import BadInput, Code
from edgeward.answers.models import VersionDetail
from edgeward.client import Client
from edgeward.files import write_whole
from edgeward.runs.store import runs_directory

DIRECTORY = "estimators"
MAX_KEPT = 20
"""Files of all models of a worker, the newest ones: a champion is among the newest few versions of its model."""
MAX_KEPT_BYTES = 256 << 20
"""The most bytes of one file: to read a larger one takes longer than a warm start saves."""
MAX_ANCESTORS = 100
"""The most versions in a chain of warm starts that are checked for deleted rows."""
WARM = "warm"
TAG = "start"
"""The tag of a version that names how its training began."""
MAX_START_CHARS = 300
"""The most characters of these words: a tag holds 512."""


class KeptEstimators:
    """The files of one directory of runs."""

    def __init__(self, runs_dir: Path | None = None) -> None:
        self._directory = runs_directory(runs_dir) / DIRECTORY

    def path(self, digest: str) -> Path:
        """The path of the estimator of the version whose artifact has this digest."""
        return self._directory / f"{digest}.skops"

    def keep(self, digest: str, estimator: Any) -> None:
        """Stores an estimator, and deletes the oldest. BadInput `request_invalid` if skops cannot write it."""
        import skops.io

        try:
            raw = skops.io.dumps(estimator)
        except Exception as error:  # an object of any library may raise any error
            words = f"{type(estimator).__name__} cannot be kept: {type(error).__name__}: {error}"
            raise BadInput(Code.REQUEST_INVALID, words[:300]) from None
        if len(raw) > MAX_KEPT_BYTES:
            raise BadInput(Code.REQUEST_INVALID, f"the estimator has {len(raw)} bytes, limit {MAX_KEPT_BYTES}")
        self._directory.mkdir(parents=True, exist_ok=True)
        write_whole(self.path(digest), raw)
        newest = sorted(self._directory.glob("*.skops"), key=lambda each: each.stat().st_mtime, reverse=True)
        for each in newest[MAX_KEPT:]:
            each.unlink(missing_ok=True)


def champion_file(client: Client, kept: KeptEstimators, model: str, champion: int) -> tuple[str, str]:
    """(the file of the champion's estimator, nothing) or (nothing, why a training must start from scratch).

    Neither the champion nor the versions from which it continued may have learnt from rows that were deleted.
    """
    version = client.version(model, champion)
    path = kept.path(version.digest)
    if not path.is_file():
        return "", f"this worker has not kept the estimator of v{champion}: it keeps those that it has pushed itself"
    deleted = {
        (each.model, each.release): deletion.id for deletion in client.deletions() for each in deletion.trained
    }  # fmt: skip
    for release in _went_on_from(client, version):
        if (model, release) in deleted:
            path.unlink(missing_ok=True)
            return "", f"v{release} was trained on rows that deletion {deleted[model, release]} has deleted"
    return str(path), ""


def _went_on_from(client: Client, version: VersionDetail) -> list[int]:
    """The version and those from which its estimator continued, newest first."""
    found = [version.release]
    while len(found) < MAX_ANCESTORS and version.lineage.tags.get(TAG, "").startswith(WARM):
        if version.lineage.parent is None:
            break
        version = client.version(version.model, version.lineage.parent)
        found.append(version.release)
    return found
