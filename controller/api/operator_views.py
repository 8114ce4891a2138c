"""Answers of the API about keys, certificates, tokens, the audit and sticks. Refuses to know how they are made."""

from typing import Any

from contract.blobs import Blob
from contract.wire import Message
from controller.trust.scope import Scope


class TrustView(Message, frozen=True):
    """Roles and their keys, as root and targets define them."""

    roles: list[dict[str, Any]]
    files: dict[str, str]
    """Every document as it was signed."""
    unsigned: dict[str, list[int]]
    """Versions that passed their gates and wait for the release signer's signature, by model."""


class MetadataTaken(Message, frozen=True):
    """The names of the documents in an offer that were new."""

    taken: list[str]


class PublicKey(Message, frozen=True):
    """A key's public half, in securesystemslib's form."""

    keyid: str
    key: dict[str, Any]


class RoleProposal(Message, frozen=True):
    """What a release signer is asked to sign."""

    model: str
    manifests: dict[str, Any]
    """Digest, size, inputs and limits by release."""
    signed: list[int]
    """Releases that are signed already."""
    min_release: int
    signers: list[str]
    """Key ids that may sign; none for a model whose signer the targets key has not named yet."""


class CertificateView(Message, frozen=True):
    """A certificate that was issued."""

    serial: str
    """The serial number in hexadecimal."""
    subject: str
    """A device, or a service of the controller's: `svc.controller`."""
    authority: str
    expires_at: str
    revoked: bool


class AuthorityView(Message, frozen=True):
    """An authority that issues certificates of devices, services and the broker."""

    name: str
    issues: bool
    """Whether it issues the new certificates."""
    trusted: bool
    """False once it is retired."""
    expires_at: str
    devices: int
    """Devices whose only valid certificates come from it."""


class Revoked(Message, frozen=True):
    """How many certificates of a device were revoked."""

    device: str
    certificates: int


class TokenView(Message, frozen=True):
    """A token without its secret."""

    id: str
    name: str
    roles: list[str]
    created_at: str
    expires_at: str
    revoked: bool
    scope: Scope
    """The part of the fleet on which its holder may act; empty: all of it."""


class NewToken(Message, frozen=True):
    """A token that was just made; it is not shown again."""

    token: str
    kept: TokenView


class AuditEntry(Message, frozen=True):
    """The person, action and subject of an entry, and the hash that chains it to the one before."""

    number: int
    """The number of the entry, from 1 without a gap."""
    at: str
    actor: str
    """`controller` for actions without a request of a person."""
    action: str
    subject: str
    detail: str
    hash: str


class AuditExport(Message, frozen=True):
    """Every entry with its hash, the checkpoints that are kept elsewhere, and what is wrong, if anything is."""

    entries: list[AuditEntry]
    witness: str
    """The checkpoint in signed metadata."""
    seal: str
    """The checkpoint in the audit's seal, which is renewed with each entry."""
    faults: list[str]


class StickView(Message, frozen=True):
    """What a stick carries to devices without a broker."""

    documents: dict[str, str]
    """The documents by topic, as they were signed."""
    blobs: list[Blob]
    """The blobs that the documents name; the bytes are at `/v1/blobs`."""
    devices: list[str]
    """Devices for which the stick holds a document."""
    missing: dict[str, str]
    """The reason why a device's document could not be made, by device."""


class StickTaken(Message, frozen=True):
    """The result of importing the messages on a stick."""

    taken: int
    refused: int
    """Messages that were not authentic, or malformed: the controller's log says why."""
