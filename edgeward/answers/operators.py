"""The controller itself and the permissions of people: health, tokens, audit, signed metadata, sticks."""

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
    """The part of a fleet on which a token's holder may act; an empty field limits nothing."""

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
    """A token that was just made: `token` is the secret, which is never shown again."""

    _secret: ClassVar[frozenset[str]] = frozenset({"token"})

    token: str
    kept: Token


class Certificate(Answer, frozen=True):
    """A certificate that was issued to a device or to a service of the controller."""

    serial: str
    subject: str
    authority: str
    expires_at: Time
    revoked: bool


class Authority(Answer, frozen=True):
    """An authority that issues certificates of devices, services and the broker."""

    name: str
    issues: bool
    """Whether it issues the new certificates."""
    trusted: bool
    """False once it is retired."""
    expires_at: Time
    devices: int
    """Devices whose only valid certificates come from it."""


class AuditEntry(Answer, frozen=True):
    """The person, action and subject of an entry, and the hash that chains it to the one before."""

    number: int
    """The number of the entry, from 1 without a gap."""
    at: Time
    actor: str
    """`controller` for actions without a request of a person."""
    action: str
    subject: str
    detail: str
    hash: str


class AuditExport(Answer, frozen=True):
    """The whole audit, oldest entry first. Hashes are computed over `plain`."""

    entries: tuple[AuditEntry, ...]
    witness: str
    """The checkpoint in signed metadata."""
    seal: str
    """The checkpoint in the audit's seal, which is renewed with each entry."""
    faults: tuple[str, ...]


class Role(Answer, frozen=True):
    """One role of the signed metadata: its keys, the number of them that must sign, and the expiry of its document."""

    role: str
    version: int | None
    expires: Time | None
    threshold: int
    keyids: tuple[str, ...]


class Trust(Answer, frozen=True):
    """The keys that decide what devices run."""

    roles: tuple[Role, ...]
    files: dict[str, str]
    """Every document as it was signed."""
    unsigned: dict[str, tuple[int, ...]]
    """Versions that passed their gates and wait for the release signer's signature, by model."""


class RoleProposal(Answer, frozen=True):
    """What a release signer is asked to sign."""

    model: str
    manifests: dict[str, Plain]
    """The manifests by release, as in `contract.manifest.Manifest`."""
    signed: tuple[int, ...]
    min_release: int
    signers: tuple[str, ...]
    """Key ids that may sign."""


class PublicKey(Answer, frozen=True):
    """A key's public half, in securesystemslib's form."""

    keyid: str
    key: Plain


class StickDocuments(Answer, frozen=True):
    """What a stick carries to devices without a broker."""

    documents: dict[str, str]
    """The documents by topic, as they were signed."""
    blobs: tuple[Blob, ...]
    devices: tuple[str, ...]
    missing: dict[str, str]
    """The reason why a device's document could not be made, by device."""


class StickWritten(Answer, frozen=True):
    """What was written to a stick: for which devices, and the number of new bytes."""

    devices: tuple[str, ...]
    size_bytes: int
    missing: dict[str, str]
    """Why a document, by device, or a blob is missing. Everything else is there."""


class StickTaken(Answer, frozen=True):
    """The result of importing the messages on a stick."""

    taken: int
    refused: int
    """Not authentic, or no messages: the controller's log says why."""
