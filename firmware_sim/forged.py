"""False messages in the name of a device, in place of its real ones. Decides their content. Refuses to know when
they are sent.
"""

from msgspec.structs import replace

from contract.messages import Heartbeat, ModelState, Report, VersionRef
from controller.reconcile.world import FromDevice

NOWHERE = VersionRef(release=77, digest="7" * 64)
"""A version that no registry of a simulated fleet holds."""


def saying_that_it_runs_another(message: FromDevice, digest: str) -> FromDevice:
    """Returns the message with NOWHERE as its confirmed version, if that was the version `digest`."""
    match message:
        case Heartbeat():
            return replace(message, models=tuple(_moved(state, digest) for state in message.models))
        case Report() if message.state is not None:
            return replace(message, state=_moved(message.state, digest))
        case _:
            return message


def _moved(state: ModelState, digest: str) -> ModelState:
    told = state.stable is not None and state.stable.digest == digest
    return replace(state, stable=NOWHERE) if told else state
