"""The key of this device and its certificate, on flash: the pair in use, and the next pair, which is not yet
accepted.

Decides which pair is used: of the complete pairs the one that was issued last, so that a new enrolment replaces an
earlier renewal. A pair is one file, because two files cannot change at once. Refuses to know which authority issues it.
"""

from collections.abc import Callable
from datetime import datetime

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from agent.flash.atomic_file import medium, replace
from agent.ports import Disk
from contract.errors import BadInput, Code
from contract.keys import private_key_of

PAIR, NEXT, AUTHORITIES = "identity.pem", "next-identity.pem", "authorities.pem"
_BEGIN = b"-----BEGIN CERTIFICATE-----"


class KeyPair(msgspec.Struct, frozen=True):
    """A private key and the certificate for it, both in PEM."""

    key: bytes
    certificate: str

    @property
    def begins(self) -> datetime:
        """When the certificate becomes valid."""
        return self._read.not_valid_before_utc

    @property
    def ends(self) -> datetime:
        """When the certificate expires."""
        return self._read.not_valid_after_utc

    @property
    def _read(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.certificate.encode())


def whole_pair(key: bytes, certificate: bytes) -> KeyPair:
    """Returns the pair of key and certificate. BadInput `config_invalid` unless both can be read and
    belong together.
    """
    try:
        read, private = x509.load_pem_x509_certificate(certificate), private_key_of(key)
        spki = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        fits = read.public_key().public_bytes(*spki) == private.public_key().public_bytes(*spki)
        text = certificate.decode("ascii")
    except (ValueError, TypeError, AttributeError) as error:
        raise BadInput(Code.CONFIG_INVALID, f"broker.cert_file, broker.key_file: {error}") from None
    if not fits:
        raise BadInput(Code.CONFIG_INVALID, "broker.cert_file is for another key than broker.key_file")
    return KeyPair(key, text)


def forget_pairs(disk: Disk) -> None:
    """Deletes every renewed pair on this disk: the device follows another controller from now on."""
    with medium():
        for name in (PAIR, NEXT, AUTHORITIES):
            disk.delete(name)
        disk.sync_directory()


class KeyPairs:
    """The key pairs on one disk. `first` reads the pair of the enrolment: BadInput or OSError if it is missing."""

    def __init__(self, disk: Disk, first: Callable[[], KeyPair]) -> None:
        self._disk = disk
        self._first = first

    def current(self) -> KeyPair:
        """The pair in use. BadInput `config_invalid` if no pair is complete."""
        renewed = self._on_disk(PAIR)
        try:
            first = self._first()
        except (OSError, BadInput) as error:
            if renewed is None:
                raise error if isinstance(error, BadInput) else BadInput(Code.CONFIG_INVALID, str(error)) from None
            return renewed
        return renewed if renewed is not None and renewed.begins >= first.begins else first

    @property
    def renewed(self) -> bool:
        """Whether the pair in use came from a renewal on this device."""
        return self.current() == self._on_disk(PAIR)

    def next(self) -> KeyPair | None:
        """The pair that is durable and not yet accepted; None if there is none."""
        return self._on_disk(NEXT)

    def keep_next(self, pair: KeyPair) -> None:
        """Makes a new pair durable beside the one in use. WorldError `disk_full`, `disk_failed`."""
        replace(self._disk, NEXT, pair.key + pair.certificate.encode())

    def accept_next(self) -> None:
        """Makes the next pair the one in use, by one rename."""
        with medium():
            self._disk.rename(NEXT, PAIR)
            self._disk.sync_directory()

    def discard_next(self) -> None:
        """Deletes the next pair."""
        with medium():
            self._disk.delete(NEXT)

    def authorities(self) -> str:
        """The authorities (PEM) that came with a renewal; empty for none."""
        return self._disk.read(AUTHORITIES).decode("ascii", "replace") if AUTHORITIES in self._disk.names() else ""

    def keep_authorities(self, text: str) -> None:
        """Makes the authorities durable."""
        replace(self._disk, AUTHORITIES, text.encode())

    def path(self, name: str) -> str:
        """The path of a file that TLS reads."""
        return self._disk.path(name)

    def _on_disk(self, name: str) -> KeyPair | None:
        try:
            key, begin, certificate = self._disk.read(name).partition(_BEGIN)
            return whole_pair(key, begin + certificate)
        except (OSError, BadInput):
            return None
