"""The versions that a pipeline's step has pushed, and whether the present controller has them.

Decides when a push of an earlier run still counts: the controller of this process has the same bytes under the same
number. Refuses to know steps and their addresses.
"""

from collections.abc import Iterable

from contract.errors import EdgewardError
from contract.run_record import PushedVersion


def are_there(pushed: Iterable[PushedVersion]) -> bool:
    """Returns whether the controller has every version. False if it does not answer: the step then reports why."""
    return all(map(_is_there, pushed))


def _is_there(version: PushedVersion) -> bool:
    from edgeward.client import Client  # a pipeline that pushes nothing needs no controller

    try:
        return Client().version(version.model, version.release).digest == version.digest
    except EdgewardError:
        return False
