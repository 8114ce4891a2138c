"""Which labels name a class that a version of the model can answer.

Decides that a label outside the classes of the version that answered is a true class only if another version of the
model on this device has it: then the answer was wrong. Any other label is a spelling mistake, or a class that no
version knows. It is no evidence about the version and is counted separately. Refuses to know where labels come from.
"""

from collections.abc import Iterable
from functools import lru_cache

from agent.core.model import Assignment
from contract.labels import Answer, plain_label
from contract.manifest import Manifest

MAX_NAMED = 5
"""The most classes that a refusal names."""
MAX_SHOWN_CHARS = 64


def is_known(label: Answer, manifest: Manifest, versions: Iterable[Assignment]) -> bool:
    """Tells whether a settled label is a class of a classifier, or of one of the `versions` of the model.

    True if the version's classes are not known.
    """
    if manifest.task != "classification" or not manifest.classes:
        return True
    plain = plain_label(label)
    return plain in _plain(manifest.classes) or any(plain in _plain(each.manifest.classes) for each in versions)


def refusal(label: Answer, manifest: Manifest) -> str:
    """Says in words that a label is no class of the version, and what its classes are."""
    named = ", ".join(repr(each[:MAX_SHOWN_CHARS]) for each in manifest.classes[:MAX_NAMED])
    more = len(manifest.classes) - MAX_NAMED
    classes = f"{named} and {more} more" if more > 0 else named
    return f"{str(label)[:MAX_SHOWN_CHARS]!r} is no class of version {manifest.release}, which answers {classes}"


@lru_cache(maxsize=64)
def _plain(classes: tuple[str, ...]) -> frozenset[Answer]:
    return frozenset(map(plain_label, classes))
