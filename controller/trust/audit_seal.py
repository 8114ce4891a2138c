"""The audit's seal: its newest checkpoint in a separate file, signed, renewed with each entry from the first one on.

A chain of hashes does not show that its end was cut off. Signed metadata carries a checkpoint to every device,
twice a day; the seal shows at the next start entries that were cut off since. Decides what is a fault of a seal,
and stores the first one for people. Refuses to know what entries mean.
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import Signature

from contract.errors import BadInput, WorldError
from contract.trust import repository
from contract.wire import Message, decode, encode
from controller.registry.atomic_file import replace_file
from controller.trust.metadata import TrustMetadata

_PREFIX = b"edgeward audit seal v1 "
"""A prefix of the signed bytes, so that no signature on metadata is one on a seal."""


class Seal(Message, frozen=True):
    """A checkpoint, signed with the key of the role `timestamp`."""

    checkpoint: str
    keyid: str
    signature: str


class AuditSeal:
    """The seal in `path`, and beside it a file with the fault that was found, until somebody removes that file."""

    def __init__(self, path: Path, trust_metadata: TrustMetadata) -> None:
        self._path = path
        self._trust_metadata = trust_metadata
        self.fault_path = path.with_name(f"{path.name}-broken")
        self._unwritten = ""
        """A fault that the disk did not store."""

    def renew(self, checkpoint: str) -> None:
        """Signs and stores the newest checkpoint. WorldError `disk_full`: the old one stays."""
        signed = self._trust_metadata.timestamp_signer.sign(_PREFIX + checkpoint.encode())
        seal = Seal(checkpoint=checkpoint, keyid=signed.keyid, signature=signed.signature)
        replace_file(self._path, encode(seal))

    @property
    def checkpoint(self) -> str:
        """Returns the stored checkpoint; empty if there is none that this fleet's keys have signed."""
        seal = self._read()
        return seal.checkpoint if seal is not None else ""

    @property
    def fault(self) -> str:
        """Returns in words what was wrong with the audit at any start; empty if nothing was, or once its file is
        removed.
        """
        try:
            return self.fault_path.read_text(encoding="utf-8").strip()
        except OSError:
            return self._unwritten

    def examine(self, hash_of: Callable[[int], str | None], *, sealed: bool) -> str:
        """Compares the seal with the audit whose hash of entry n is `hash_of(n)`; returns the fault, empty for none.

        `sealed`: the audit has entries of a controller that seals, so a seal must exist. The first fault is stored in
        `fault_path`.
        """
        words = self._compare(hash_of, sealed=sealed)
        if words and not self.fault:
            self._unwritten = words
            with suppress(WorldError):
                replace_file(self.fault_path, f"{words}\n".encode())
                self._unwritten = ""
        return words

    def _compare(self, hash_of: Callable[[int], str | None], *, sealed: bool) -> str:
        if not self._path.exists():
            return (
                f"there is no seal ({self._path.name}) although entries were sealed: it was removed" if sealed else ""
            )
        seal = self._read()
        if seal is None:
            return f"the seal ({self._path.name}) is not signed by this fleet: it was written by somebody else"
        count, _, newest = seal.checkpoint.partition(":")
        found = hash_of(int(count)) if count.isdigit() else None
        if found is None:
            return f"the seal knows {count} entries and they are not there: the end was cut off"
        return "" if found == newest else f"the seal knows another entry {count}: the audit was written anew"

    def _read(self) -> Seal | None:
        """Returns the seal, if a present or former key of this fleet's `timestamp` role has signed it."""
        try:
            seal = decode(self._path.read_bytes(), Seal)
            key = repository.timestamp_keys(self._trust_metadata.files)[seal.keyid]
            key.verify_signature(Signature(seal.keyid, seal.signature), _PREFIX + seal.checkpoint.encode())
        except (OSError, BadInput, KeyError, UnverifiedSignatureError):
            return None
        return seal
