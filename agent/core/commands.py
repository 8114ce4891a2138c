"""The commands of a machine. The shell performs them in order. A `Save` is durable before the next command."""

import msgspec

from agent.core.model import Assignment, Record


class Save(msgspec.Struct, frozen=True):
    """Make `record` durable."""

    record: Record


class Fetch(msgspec.Struct, frozen=True):
    """Bring the blobs of `assignment` to disk. Answer with FetchDone or FetchFailed."""

    assignment: Assignment


class Probe(msgspec.Struct, frozen=True):
    """Test `assignment` in a confined child process. Answer with ModelReady or ModelBroken."""

    assignment: Assignment


class Activate(msgspec.Struct, frozen=True):
    """Check whether `assignment` may be tried now. Answer with ActivationAllowed or ActivationHeld."""

    assignment: Assignment
    ready_since: float


class Load(msgspec.Struct, frozen=True):
    """Serve `assignment` (None: serve nothing). Answer with ModelBroken if it cannot be loaded."""

    assignment: Assignment | None


class Prune(msgspec.Struct, frozen=True):
    """Delete the blobs that neither the record nor another model needs."""


class Report(msgspec.Struct, frozen=True):
    """Report the new state and, if the machine makes no progress, the reason."""

    code: str = ""
    detail: str = ""


Command = Save | Fetch | Probe | Activate | Load | Prune | Report
