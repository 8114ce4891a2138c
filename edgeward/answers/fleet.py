"""The fleet in counts, as the controller answers it: presence, health, versions, alerts, and updates in progress."""

from edgeward.answers.answer import Answer
from edgeward.answers.rollouts import Finding, RolloutSummary


class Served(Answer, frozen=True):
    """How many devices serve a version, and their measurements of it since the controller started."""

    model: str
    release: int
    """0: a version that the controller does not know."""
    devices: int
    lost: int
    """Those of them on which this number is a version that the registry does not hold, as after a restore."""
    inferences: int
    errors: int
    refused: int
    accuracy: float | None
    mean_absolute_error: float | None
    r2: float | None
    unsure: int = 0
    """Devices that are not online and were on trial with it when they last reported; they are not in `devices`."""


class Sick(Answer, frozen=True):
    """A device on which the stable version fails as much as the one on trial."""

    device: str
    model: str
    detail: str


class Source(Answer, frozen=True):
    """A sensor or a sink that does not work."""

    device: str
    name: str
    model: str
    state: str
    age_s: float | None
    error: str


class Transferring(Answer, frozen=True):
    """A version that a device is fetching."""

    device: str
    presence: str
    model: str
    release: int
    done_bytes: int
    total_bytes: int
    bytes_s: float


class Fleet(Answer, frozen=True):
    """The fleet as it is now."""

    findings: tuple[Finding, ...]
    """What is wrong with the controller."""
    devices: int
    presence: dict[str, int]
    health: dict[str, int]
    """Devices by health, the worst first."""
    faults: dict[str, int]
    """Devices by the code of what is wrong with them."""
    serving: tuple[Served, ...]
    sick: tuple[Sick, ...]
    sources: dict[str, int]
    """Sensors and sinks by state."""
    failing_sources: tuple[Source, ...]
    bytes_received: int
    bytes_s: float
    fetching: int
    transfers: tuple[Transferring, ...]
    rollouts: tuple[RolloutSummary, ...]
    """The newest, newest first."""
