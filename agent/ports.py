"""The agent's ports. One exists only where the simulator must substitute something.

Adapters in `agent/adapters` are the real ones; `firmware_sim` brings its own.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, Protocol

import msgspec
import numpy as np

from agent.core.model import Assignment
from contract.desired import TrialPolicy
from contract.manifest import Manifest
from contract.messages import Hardware, SensorState, SinkState

Array = np.ndarray[Any, np.dtype[Any]]
"""A numpy array of any shape and dtype. `numpy.typing` has the same name and takes a device 15 ms to import."""
Inputs = Mapping[str, Array]
Lives = tuple[tuple[SensorState, ...], tuple[SinkState, ...]]
"""The states and counts of all sensors and of all sinks of a device."""


class Disk(Protocol):
    """A flat directory on flash. Nothing is durable before `sync`; a rename is durable only after `sync_directory`.

    Raises FileNotFoundError for a missing name and OSError (ENOSPC included) for what the medium refuses.
    """

    def read(self, name: str) -> bytes:
        """Returns the whole file."""
        ...

    def read_at(self, name: str, offset: int, size_bytes: int) -> bytes:
        """Returns up to `size_bytes` from `offset`, fewer at the end of the file."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Creates the file or replaces its content."""
        ...

    def write_at(self, name: str, offset: int, data: bytes) -> None:
        """Writes into a file, and creates or extends it. FileNotFoundError if the file ends before `offset`."""
        ...

    def sync(self, name: str) -> None:
        """Makes the file's content durable."""
        ...

    def sync_directory(self) -> None:
        """Makes names (creations, renames, deletions) durable."""
        ...

    def rename(self, source: str, target: str) -> None:
        """Gives the file `source` the name `target`, atomically, in place of any other."""
        ...

    def delete(self, name: str) -> None:
        """Removes a file; a missing one is not an error."""
        ...

    def names(self) -> Sequence[str]:
        """Returns all names, sorted."""
        ...

    def size_bytes(self, name: str) -> int:
        """Returns the length of a file."""
        ...

    def free_bytes(self) -> int:
        """Returns the space that may still be written."""
        ...

    def path(self, name: str) -> str:
        """Returns the path by which the runtime opens the file."""
        ...


class Link(Protocol):
    """The connection to the broker. Calls never block; each message reaches `Agent.receive` as `MessageArrived`."""

    def publish(
        self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False, expiry_s: int | None = None
    ) -> None:
        """Queues a message; while offline QoS 1 messages wait within the link's limit."""
        ...

    def subscribe(self, topics: Sequence[str], *, qos: int = 1) -> None:
        """Subscribes; the broker then sends its retained messages. QoS 0 is for messages that are requested again if
        they are lost.
        """
        ...

    def unsubscribe(self, topics: Sequence[str]) -> None:
        """Unsubscribes; messages that were sent before may still arrive."""
        ...


class Stopped(Exception):
    """An inference was cancelled, before or while it ran, because no caller waits for it. It is no fault."""


class Stop:
    """Ends one inference, from any thread. `after(seconds, call)` calls `call` later, for time limits."""

    def __init__(self, after: Callable[[float, Callable[[], None]], None]) -> None:
        self.why = ""
        """The reason of the cancellation in words; empty while a caller waits."""
        self._after = after
        self._end: Callable[[], None] | None = None

    def set(self, why: str) -> None:
        """Cancels the inference, or prevents its start."""
        self.why = self.why or why
        if (end := self._end) is not None:
            end()

    def within(self, seconds: float, why: str) -> None:
        """Cancels the inference after `seconds`."""
        self._after(seconds, lambda: self.set(why))

    def ends_by(self, end: Callable[[], None] | None) -> None:
        """Sets the function that ends the running inference; None after the run."""
        self._end = end
        if self.why and end is not None:
            end()


class Session(Protocol):
    """A loaded model."""

    def run(self, inputs: Inputs, stop: Stop | None = None) -> list[Array]:
        """Returns one array for each of the manifest's session outputs, in order. Raises what the runtime raises.

        `inputs` holds an array for each of its session inputs, by name; shapes (rows, ...) and dtypes are those that
        the manifest names, text as dtype object. `stop` may end the run early, with any exception.
        """
        ...


class ProbeReport(msgspec.Struct, frozen=True):
    """The result of a probe."""

    digest: str
    code: str = ""
    """Empty when the model is ready."""
    detail: str = ""
    load_ms: float = 0.0
    latency_ms: float = 0.0
    memory_mb: float = 0.0
    """Resident memory that loading and running took."""
    sandbox: str = ""
    """The degree to which the child was confined."""


class Usage(msgspec.Struct, frozen=True):
    """Memory and CPU that a process takes, and the device's temperature."""

    rss_mb: float
    cpu_s: float
    """CPU seconds since it started, over all cores."""
    temperature_c: float | None = None
    """The temperature of the hottest thermal zone; None if the kernel reports none."""


class Runtime(Protocol):
    """Loads and tests models."""

    def hardware(self) -> Hardware:
        """Returns the device's machine, memory and versions."""
        ...

    def probe(self, assignment: Assignment, artifact: str, golden: str, done: Callable[[ProbeReport], None]) -> None:
        """Tests an artifact in another process and calls `done` once, later, from any thread."""
        ...

    def load(self, artifact: str, manifest: Manifest, policy: TrialPolicy) -> Session:
        """Loads a model into this process or a new one, with the threads and providers that its policy asks for.

        WorldError `model_load_failed` if the runtime refuses it.
        """
        ...

    def answer_golden(self, session: Session, manifest: Manifest, golden: bytes) -> Generator[None, None, int]:
        """Answers a golden set (npz bytes) on a loaded session, pauses after each run, and returns the rows missed.

        Raises what the session raises, and BadInput for bytes that are no golden set.
        """
        ...

    def free_mb(self) -> float:
        """Returns the memory that another session may take, in MB."""
        ...

    def usage(self) -> Usage:
        """Returns what this process uses now, and its CPU time so far."""
        ...

    def trim(self) -> None:
        """Gives freed memory back to the operating system."""
        ...


class Sample(msgspec.Struct, frozen=True):
    """One row from a sensor: cells by column name, and the label if the sensor knows it."""

    values: Mapping[str, Any]
    label: str | float | None = None
    key: str = ""
    """The person or thing to which the row belongs. While a trial answers a part of the requests, one version answers
    all rows of one key."""
    file: str = ""
    """The name of the file that the row comes from, of an image or a sound."""
    offset_s: float | None = None
    """The start of a clip of sound, in seconds from the sound's beginning."""
