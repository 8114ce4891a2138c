"""What a machine orders, in the imperative. The shell performs them in order; `Save` is durable before the next."""

import msgspec

from agent.core.model import Assignment, Record


class Save(msgspec.Struct, frozen=True):
    """Make `record` durable."""

    record: Record


class Fetch(msgspec.Struct, frozen=True):
    """Bring the blobs of `assignment` to disk; answer FetchDone or FetchFailed."""

    assignment: Assignment


class Probe(msgspec.Struct, frozen=True):
    """Examine `assignment` in a confined child; answer ModelReady or ModelBroken."""

    assignment: Assignment


class Activate(msgspec.Struct, frozen=True):
    """Find out whether `assignment` may be tried now; answer ActivationAllowed or ActivationHeld."""

    assignment: Assignment
    ready_since: float


class Load(msgspec.Struct, frozen=True):
    """Serve `assignment` (None: serve nothing); answer ModelBroken if it does not load."""

    assignment: Assignment | None


class Prune(msgspec.Struct, frozen=True):
    """Delete what neither the record nor another model needs."""


class Report(msgspec.Struct, frozen=True):
    """Report the new state, and why it makes no progress, if it makes none."""

    code: str = ""
    detail: str = ""


Command = Save | Fetch | Probe | Activate | Load | Prune | Report
