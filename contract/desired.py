"""The desired document: what one device shall run, signed by the director.

Decides its fields: a TUF targets file with `x-edge` beside it. Refuses to know whether the release signer agrees:
admission compares both.
"""

from decimal import Decimal
from typing import Annotated, Literal

import msgspec

from contract.blobs import Blob
from contract.wire import Message

Provider = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9]{1,40}ExecutionProvider\Z")]


class TrialPolicy(Message, frozen=True):
    """The policy by which a device tries a version, and confirms it or rolls it back by itself and offline."""

    mode: Literal["serve", "shadow"] = "serve"
    """serve: the trial answers. shadow: stable answers, the trial repeats what it is asked and is compared."""
    traffic_share: Decimal = Decimal(1)
    """The fraction of requests that the trial answers, in [0, 1]. A stable hash of the key chooses; stable answers the
    rest."""
    shadow_share: Decimal = Decimal(1)
    """The fraction of stable's inferences that a shadow repeats, in [0, 1]."""
    max_shadow_cpu: Decimal = Decimal("0.1")
    """The fraction of one core that a shadow may use. Inferences beyond it are counted and not repeated."""
    min_agreement: Decimal = Decimal(0)
    """The smallest fraction of a shadow's answers that must equal stable's. 0: a better model may well answer
    otherwise."""
    reverse_share: Decimal = Decimal(0)
    """The fraction of the trial's inferences that stable repeats beside it, within `max_shadow_cpu`. It tells a world
    that has drifted from a model that is worse, and keeps stable loaded."""
    maintenance: tuple[str, ...] = ()
    """Hours in which a device may change what serves, by its own wall clock: `mon-fri 02:00-04:00`. Without any it may
    at any time. The version is fetched and probed before."""
    max_hold_s: Decimal = Decimal(86_400)
    """The longest time that the application on the device may delay an update."""
    unload_first: bool = True
    """Where memory is too short for two sessions. True: nothing serves for a moment. False: the version is refused."""
    soak_s: Decimal = Decimal(300)
    """The time that the trial must stay healthy."""
    give_up_s: Decimal = Decimal(86_400)
    """The time after which a trial that cannot be judged is rolled back."""
    boot_budget: Annotated[int, msgspec.Meta(ge=1, le=10)] = 3
    """The number of boots that a trial may take before it is rolled back."""
    min_samples: Annotated[int, msgspec.Meta(ge=0)] = 30
    """The number of inferences before a verdict. With fewer the verdict is inconclusive, never pass."""
    judged_inferences: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 1_000
    """The number of newest inferences that are judged."""
    max_error_ratio: Decimal = Decimal("0.02")
    """The largest fraction of inferences that may raise or answer a value that is not finite."""
    max_latency_ms_p95: Decimal = Decimal(100)
    require_sandbox: bool = False
    """Whether the version is refused where the probe cannot be fully confined."""
    isolated: bool = False
    """Whether a confined process of its own serves the version, so that a crash or a hang leaves the agent alive."""
    threads: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    """The threads that one inference may use, within `serving.model_threads` of the device."""
    providers: Annotated[tuple[Provider, ...], msgspec.Meta(max_length=4)] = ()
    """Execution providers of onnxruntime, in order of preference, of those that `serving.providers` of the device
    allows. The CPU's comes last of itself."""
    max_accuracy_drop: Decimal = Decimal("0.05")
    """How far the trial's accuracy may lie below stable's, where the sensor brings labels."""


MAX_SOURCES = 4
"""The largest number of sources in one document."""
Source = Annotated[str, msgspec.Meta(pattern=r"^https?://[^{}\s]+\{sha256\}[^{}\s]*\Z", max_length=512)]


class Delivery(Message, frozen=True):
    """The artifact in fewer bytes, for a device that can undo the encoding and has the base.

    The director's word, as the release signer knows neither: what comes out is held against the manifest's digest.
    """

    encoding: Annotated[str, msgspec.Meta(max_length=32)]
    """The name of the encoding. A device passes over a name that it does not know."""
    blob: Blob
    base: Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{64})?\Z")] = ""
    """The digest of the artifact that it is a change to. Empty: it needs no base."""


class DesiredTarget(Message, frozen=True):
    """The `custom` field of a desired target."""

    model: str
    generation: Annotated[int, msgspec.Meta(ge=1)]
    rollout: str
    policy: TrialPolicy
    delivery: Delivery | None = None
    sources: Annotated[tuple[Source, ...], msgspec.Meta(max_length=MAX_SOURCES)] = ()
    """Where blobs may be fetched besides the broker, in order of preference; `{sha256}` stands for the blob's name."""


class EdgeFields(Message, frozen=True):
    """The signed `x-edge` field of a desired document."""

    protocol: int
    device: str
    issued: str
    nonce: str = ""
    """The nonce of the device's newest heartbeat. It proves that the document is not older than the heartbeat."""
