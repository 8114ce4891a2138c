"""The controller itself and who may do what there: health, tokens, audit, signed metadata, sticks."""

from typing import ClassVar

from edgeward.answers.answer import Answer, Plain, Time
from edgeward.answers.blob import Blob


class Health(Answer, frozen=True):
    """Whether the controller and its broker work."""

    status: str
    findings: tuple[str, ...]
    pass_age_s: float
    broker: str
    broker_connected: bool
    free_bytes: int
    expiry_days: float
    devices: int
    messages_dropped: int
    messages_not_authentic: int
    retained_put_right: int


class Scope(Answer, frozen=True):
    """The part of a fleet on which a token's holder may act; what is empty limits nothing."""

    labels: dict[str, str]
    models: tuple[str, ...]

    @property
    def words(self) -> str:
        """The scope on one line; empty without a limit."""
        labels = [f"{key}={value}" for key, value in sorted(self.labels.items())]
        return " ".join([*labels, *(f"model {name}" for name in self.models)])


class Token(Answer, frozen=True):
    """A token without its secret."""

    id: str
    name: str
    roles: tuple[str, ...]
    created_at: Time
    expires_at: Time
    revoked: bool
    scope: Scope


class NewToken(Answer, frozen=True):
    """A token that was just made: `token` is the secret, which nobody can ask for again."""

    _secret: ClassVar[frozenset[str]] = frozenset({"token"})

    token: str
    kept: Token


class Certificate(Answer, frozen=True):
    """A certificate that was issued, to a device or to a service of the controller's."""

    serial: str
    subject: str
    authority: str
    expires_at: Time
    revoked: bool


class Authority(Answer, frozen=True):
    """An authority that vouches for devices, services and the broker."""

    name: str
    issues: bool
    """Whether new certificates are its."""
    trusted: bool
    """False once it is retired."""
    expires_at: Time
    devices: int
    """Devices that have no good certificate but from it."""


class AuditEntry(Answer, frozen=True):
    """Who did what to what, and the hash that chains the entry to the one before it."""

    number: int
    """Counts up from 1 without a gap."""
    at: Time
    actor: str
    """`controller` for what nobody had asked for at that moment."""
    action: str
    subject: str
    detail: str
    hash: str


class AuditExport(Answer, frozen=True):
    """All of the audit, oldest entry first. `plain` is what hashes are computed over."""

    entries: tuple[AuditEntry, ...]
    witness: str
    """The checkpoint that signed metadata carries."""
    seal: str
    """The checkpoint in the audit's seal, which is renewed with each entry."""
    faults: tuple[str, ...]


class Role(Answer, frozen=True):
    """One role of the signed metadata: how many of which keys sign, and until when its document is good."""

    role: str
    version: int | None
    expires: Time | None
    threshold: int
    keyids: tuple[str, ...]


class Trust(Answer, frozen=True):
    """Who may say what devices run."""

    roles: tuple[Role, ...]
    files: dict[str, str]
    """Every document as it was signed."""
    unsigned: dict[str, tuple[int, ...]]
    """Versions that passed their gates and wait for a release signer, by model."""


class RoleProposal(Answer, frozen=True):
    """What a release signer is asked to vouch for."""

    model: str
    manifests: dict[str, Plain]
    """By release, as `contract.manifest.Manifest` describes them."""
    signed: tuple[int, ...]
    min_release: int
    signers: tuple[str, ...]
    """Key ids that may sign."""


class PublicKey(Answer, frozen=True):
    """A key's public half, in securesystemslib's form."""

    keyid: str
    key: Plain


class StickDocuments(Answer, frozen=True):
    """What a stick carries to devices that no broker connects."""

    documents: dict[str, str]
    """By topic, as they were signed."""
    blobs: tuple[Blob, ...]
    devices: tuple[str, ...]
    missing: dict[str, str]
    """By device whose document could not be made, why."""


class StickWritten(Answer, frozen=True):
    """What was written to a stick: for which devices, and how many bytes that were not there."""

    devices: tuple[str, ...]
    size_bytes: int
    missing: dict[str, str]
    """By device whose document, and by blob that could not be brought, why. Everything else is there."""


class StickTaken(Answer, frozen=True):
    """What became of the messages on a stick."""

    taken: int
    refused: int
    """Not believed, or no messages: the controller's log says why."""
