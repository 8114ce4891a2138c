"""The keys that this controller can sign with. The metadata says which of them are valid. Refuses to know files."""

from collections.abc import Iterable

from securesystemslib.signer import Signer

from contract.errors import BadInput, Code
from contract.trust import repository
from contract.trust.repository import Files, Online


class Keyring:
    """The signers by key id."""

    def __init__(self, signers: Iterable[Signer], release: Signer | None = None) -> None:
        self._by_id = {signer.public_key.keyid: signer for signer in signers}
        self.release = release
        """Signs for models that have no signer yet. In production it is kept elsewhere."""

    def add(self, signer: Signer) -> None:
        """Adds a key for a coming rotation."""
        self._by_id[signer.public_key.keyid] = signer

    def among(self, keyids: Iterable[str]) -> Signer | None:
        """Returns a key that is here and among these."""
        return next((self._by_id[keyid] for keyid in keyids if keyid in self._by_id), None)

    def enough(self, keyids: Iterable[str], threshold: int) -> list[Signer] | None:
        """Returns as many of these keys as must sign together; None if fewer are here."""
        found = [self._by_id[keyid] for keyid in keyids if keyid in self._by_id]
        return found if len(found) >= threshold else None

    def online(self, files: Files) -> Online:
        """Returns the keys that root and targets name for the controller; BadInput `signature_invalid` if one is not
        here.
        """
        found = {name: self.among(keyids) for name, keyids in repository.online_keyids(files).items()}
        missing = [name for name, signer in found.items() if signer is None]
        if missing:
            raise BadInput(Code.SIGNATURE_INVALID, f"the key that root names for {', '.join(missing)} is not here")
        return Online(**{name: signer for name, signer in found.items() if signer is not None})
