"""What a machine orders, in the imperative. The shell performs them in order; `Save` is durable before the next."""

from dataclasses import dataclass

from agent.core.model import Assignment, Record


@dataclass(frozen=True, slots=True)
class Save:
    """Make `record` durable."""

    record: Record


@dataclass(frozen=True, slots=True)
class Fetch:
    """Bring the blobs of `assignment` to disk; answer FetchDone or FetchFailed."""

    assignment: Assignment


@dataclass(frozen=True, slots=True)
class Probe:
    """Examine `assignment` in a confined child; answer ModelReady or ModelBroken."""

    assignment: Assignment


@dataclass(frozen=True, slots=True)
class Load:
    """Serve `assignment` (None: serve nothing); answer ModelBroken if it does not load."""

    assignment: Assignment | None


@dataclass(frozen=True, slots=True)
class Prune:
    """Delete what neither the record nor another model needs."""


@dataclass(frozen=True, slots=True)
class Report:
    """Tell the controller the new state, and why it is not making progress, if it is not."""

    code: str = ""
    detail: str = ""


Command = Save | Fetch | Probe | Load | Prune | Report
