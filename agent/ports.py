"""The agent's ports. One exists only where the simulator must put something else in its place.

Adapters in `agent/adapters` are the real ones; `firmware_sim` brings its own.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec
import numpy as np

from agent.core.model import Assignment
from contract.manifest import Manifest
from contract.messages import Hardware

Array = np.ndarray[Any, np.dtype[Any]]
"""`numpy.typing` says the same and costs a device 15 ms."""
Inputs = Mapping[str, Array]


class Disk(Protocol):
    """A flat directory on flash. Nothing is durable before `sync`; a rename is durable only after `sync_directory`.

    Raises FileNotFoundError for a missing name and OSError (ENOSPC included) for what the medium refuses.
    """

    def read(self, name: str) -> bytes:
        """The whole file."""
        ...

    def read_at(self, name: str, offset: int, size_bytes: int) -> bytes:
        """Up to `size_bytes` from `offset`."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Create or replace the file's content."""
        ...

    def write_at(self, name: str, offset: int, data: bytes) -> None:
        """Write into a file, creating or growing it; FileNotFoundError for what should come before `offset`."""
        ...

    def sync(self, name: str) -> None:
        """Make the file's content durable."""
        ...

    def sync_directory(self) -> None:
        """Make names (creations, renames, deletions) durable."""
        ...

    def rename(self, source: str, target: str) -> None:
        """Atomically let `target` name what `source` named."""
        ...

    def delete(self, name: str) -> None:
        """Remove a file; a missing one is not an error."""
        ...

    def names(self) -> Sequence[str]:
        """All names, sorted."""
        ...

    def size_bytes(self, name: str) -> int:
        """Length of a file."""
        ...

    def free_bytes(self) -> int:
        """Space that may still be written."""
        ...

    def path(self, name: str) -> str:
        """What the runtime opens to load the file."""
        ...


class Link(Protocol):
    """The connection to the broker. Calls never block; what arrives is handed to `Agent.receive_message`."""

    def publish(
        self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False, expiry_s: int | None = None
    ) -> None:
        """Queue a message; while offline QoS 1 messages wait within the link's limit."""
        ...

    def subscribe(self, topics: Sequence[str], *, qos: int = 1) -> None:
        """Subscribe; retained messages follow. QoS 0 for what is asked for again if it does not come."""
        ...

    def unsubscribe(self, topics: Sequence[str]) -> None:
        """End subscriptions."""
        ...


class Session(Protocol):
    """A loaded model."""

    def run(self, inputs: Inputs) -> list[Array]:
        """Outputs in the manifest's order. Raises whatever the runtime raises."""
        ...


class ProbeReport(msgspec.Struct, frozen=True):
    """What the probe child found out."""

    digest: str
    code: str = ""
    """Empty when the model is ready."""
    detail: str = ""
    load_ms: float = 0.0
    latency_ms: float = 0.0
    memory_mb: float = 0.0
    """Resident memory that loading and running took."""
    sandbox: str = ""
    """How far the child was confined."""


class Usage(msgspec.Struct, frozen=True):
    """What a process costs its device."""

    rss_mb: float
    cpu_s: float
    """Since it started, on all cores."""
    temperature_c: float | None = None
    """Of the hottest zone; None where the kernel tells none."""


class Runtime(Protocol):
    """Loads and examines models."""

    def hardware(self) -> Hardware:
        """What this device is."""
        ...

    def probe(self, assignment: Assignment, artifact: str, golden: str, done: Callable[[ProbeReport], None]) -> None:
        """Examine an artifact out of process and call `done` once, later, from any thread."""
        ...

    def load(self, artifact: str, manifest: Manifest, *, isolated: bool = False) -> Session:
        """Load into this process or into one of its own; WorldError `model_load_failed` if the runtime refuses it."""
        ...

    def answers_golden(self, session: Session, manifest: Manifest, golden: bytes) -> bool:
        """Whether a loaded session answers its golden set as at conversion."""
        ...

    def free_mb(self) -> float:
        """Memory that another session may take."""
        ...

    def usage(self) -> Usage:
        """What this process has used so far."""
        ...

    def trim(self) -> None:
        """Give freed memory back to the operating system."""
        ...


class Sample(msgspec.Struct, frozen=True):
    """One row from a sensor: values by column, and the label where the sensor knows it."""

    values: Mapping[str, Any]
    label: str | float | None = None
    key: str = ""
    """Whose row this is: rows of one key are answered by one version while a trial has only a share of them."""
