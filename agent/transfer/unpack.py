"""Decodes an artifact on disk from its encoded form and a version that the device has.

Decides how much is decoded at a time, because the agent does other work in between. Needs 10 MB of memory for an
artifact of any size. Refuses to know how the encoded form arrived.
"""

import logging

from agent.flash.store import Store
from contract.blobs import Blob
from contract.desired import Delivery
from contract.encoding import Unpacked, decode_segments
from contract.errors import BadInput, Code

SLICE_BYTES = 4 << 20
_READ_BYTES = 64 * 1024

_log = logging.getLogger("edgeward.agent")


class Unpacking:
    """One artifact that is being decoded. BadInput `encoding_invalid`; WorldError when the medium refuses."""

    def __init__(self, store: Store, delivery: Delivery, target: Blob) -> None:
        self._store = store
        self._delivery = delivery
        self._target = target
        self._packed_at = 0
        self._written = 0
        unpacked = Unpacked(self._read_packed)
        self._segments = decode_segments(unpacked.read, self._read_base, target.length)

    def go_on(self) -> bool:
        """Decodes the next slice; returns whether the artifact is complete. WorldError `digest_mismatch`."""
        until = self._written + SLICE_BYTES
        for segment in self._segments:
            self._store.write_piece(self._target, self._written, segment)
            self._written += len(segment)
            if self._written >= until:
                return False
        self._store.seal(self._target)
        _log.info("unpacked: %d bytes were sent for %d", self._delivery.blob.length, self._target.length)
        return True

    def _read_packed(self) -> bytes:
        data = self._store.read_part(self._delivery.blob.sha256, self._packed_at, _READ_BYTES)
        self._packed_at += len(data)
        return data

    def _read_base(self, offset: int, size: int) -> bytes:
        if not self._delivery.base:
            raise BadInput(Code.ENCODING_INVALID, "the encoded artifact copies from a base but names none")
        return self._store.read_part(self._delivery.base, offset, size)
