"""The fields of the desired document, which says what one device must run and which the director signs.

Decides the fields beside those of TUF: `custom` of each target, and `x-edge`. Refuses to know whether the release
signer has signed the same version: the agent compares both documents.
"""

from decimal import Decimal
from typing import Annotated, Literal

import msgspec

from contract.blobs import Blob
from contract.erasure import MAX_ERASURES, Erasure
from contract.remote_config import RemoteConfig
from contract.versions import MAX_VERSION
from contract.wire import Message

Provider = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9]{1,40}ExecutionProvider\Z")]


class TrialPolicy(Message, frozen=True):
    """The policy by which a device tries a version, and confirms it or rolls it back by itself and offline."""

    mode: Literal["serve", "shadow"] = "serve"
    """serve: the trial answers requests. shadow: stable answers; the trial gets the same inputs and is compared."""
    traffic_share: Decimal = Decimal(1)
    """The fraction of requests that the trial answers, in [0, 1]. A stable hash of the key chooses; stable answers the
    rest."""
    shadow_share: Decimal = Decimal(1)
    """The fraction of stable's inferences that a shadow repeats, in [0, 1]."""
    max_shadow_cpu: Decimal = Decimal("0.1")
    """The fraction of one core that a shadow may use. Further inferences are counted and not repeated."""
    min_agreement: Decimal = Decimal(0)
    """The smallest fraction of a shadow's answers that must equal stable's. The default is 0, because a better model
    may give other answers."""
    reverse_share: Decimal = Decimal(0)
    """The fraction of the trial's inferences that stable repeats, within `max_shadow_cpu`. The comparison shows whether
    the inputs have drifted or the model is worse. Stable stays loaded for this."""
    maintenance: tuple[str, ...] = ()
    """Hours in which a device may swap versions, by its own wall clock: `mon-fri 02:00-04:00`. If there are none, it
    may swap at any time. It fetches and probes the version before these hours."""
    max_hold_s: Decimal = Decimal(86_400)
    """The longest time that the application on the device may delay an update."""
    unload_first: bool = True
    """What to do if memory is too small for two sessions. True: unload stable first, so that nothing serves for a
    moment. False: refuse the version."""
    soak_s: Decimal = Decimal(300)
    """The time that the trial must stay healthy."""
    give_up_s: Decimal = Decimal(86_400)
    """The time after which a trial that cannot be judged is rolled back."""
    boot_budget: Annotated[int, msgspec.Meta(ge=1, le=10)] = 3
    """The number of boots that a trial may take before it is rolled back."""
    min_samples: Annotated[int, msgspec.Meta(ge=0)] = 30
    """The number of inferences that a pass needs: these are requests with any number of rows, because a request
    fails or is slow as a whole. The same number of labels and of compared rows of a shadow is needed. With fewer
    the verdict is inconclusive, or fail for too many errors."""
    judged_inferences: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 1_000
    """The number of newest inferences that are judged."""
    max_error_ratio: Decimal = Decimal("0.02")
    """The largest fraction of inferences that may raise or answer a value that is not finite. The trial fails if it has
    significantly more and stable does not fail as much. Refused rows are no inferences."""
    max_latency_ms_p95: Decimal = Decimal(100)
    """The 95th percentile of the time for one row. A request of many rows counts with its time divided by them."""
    max_refused_increase: Decimal = Decimal("0.1")
    """The largest fraction of rows that the trial may refuse although stable's signature accepts them."""
    signature: Literal["same", "may_change"] = "same"
    """same: the version is refused if the names, types or shapes of its inputs and outputs are not those of the version
    that runs, because it would then refuse its callers."""
    require_sandbox: bool = False
    """Whether the version is refused if the probe cannot be fully confined."""
    isolated: bool = False
    """Whether the version serves in its own confined process, so that the agent survives its crash or hang."""
    threads: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    """Threads for one inference, at most `serving.model_threads` of the device."""
    providers: Annotated[tuple[Provider, ...], msgspec.Meta(max_length=4)] = ()
    """Execution providers of onnxruntime, in order of preference, of those that `serving.providers` of the device
    allows. The CPU's is always the last one."""
    max_accuracy_drop: Decimal = Decimal("0.05")
    """How far a classifier's accuracy may lie below stable's, if rows bring labels."""
    max_error_increase: Decimal = Decimal("0.2")
    """How far a regression's mean absolute error may lie above stable's, as a fraction of stable's, if rows bring
    labels."""


Generation = Annotated[int, msgspec.Meta(ge=1, le=MAX_VERSION)]
MAX_WITHDRAWN = 16
"""Models that one document may withdraw: as many as a device may have."""
MAX_SOURCES = 4
"""The largest number of sources of one target."""
Source = Annotated[str, msgspec.Meta(pattern=r"^https?://[^{}\s]+\{sha256\}[^{}\s]*\Z", max_length=512)]


class Delivery(Message, frozen=True):
    """The artifact in fewer bytes, for a device that can undo the encoding and has the base.

    Only the director signs it. The device therefore checks the result against the digest in the manifest, which the
    release signer has signed.
    """

    encoding: Annotated[str, msgspec.Meta(max_length=32)]
    """The name of the encoding. A device that does not know the name fetches the whole artifact."""
    blob: Blob
    base: Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{64})?\Z")] = ""
    """The digest of the artifact from which the blob makes the new one. Empty: it needs no base."""


class DesiredTarget(Message, frozen=True):
    """The `custom` field of a desired target."""

    model: str
    generation: Generation
    rollout: str
    policy: TrialPolicy
    delivery: Delivery | None = None
    sources: Annotated[tuple[Source, ...], msgspec.Meta(max_length=MAX_SOURCES)] = ()
    """Addresses from which blobs may be fetched besides the broker, the preferred one first. `{sha256}` stands for the
    blob's digest."""


class EdgeFields(Message, frozen=True):
    """The signed `x-edge` field of a desired document."""

    protocol: int
    device: str
    issued: str
    nonce: str = ""
    """The nonce of the device's newest heartbeat. It proves that the document is newer than that heartbeat."""
    withdrawn: Annotated[dict[str, Generation], msgspec.Meta(max_length=MAX_WITHDRAWN)] = {}
    """Models that the device must no longer run, with the generation of that order. A model that no document names
    stays as it is: a controller that was restored, or that adopted a device, does not know all models of the
    device."""
    config: RemoteConfig | None = None
    """The remote configuration, which replaces parts of the device's own. None: the document says nothing about it."""
    erasures: Annotated[tuple[Erasure, ...], msgspec.Meta(max_length=MAX_ERASURES)] = ()
    """Captured rows that the device must delete. Its heartbeat names the orders that are done."""
