"""Which requests a trial answers, and which rows a shadow repeats: decided by a keyed hash of the request's key.

Decides by key alone, so that the same version answers a key before and after a restart. Refuses to know versions.
"""

import hashlib

import msgspec


class Split(msgspec.Struct, frozen=True):
    """Which requests a trial answers: one key always gets the same version, and a raised `traffic_share` only adds
    keys.
    """

    traffic_share: float
    salt: str
    """The name of the trial, so that the next trial gets other keys, independent of these."""

    def has(self, key: str | bytes) -> bool:
        """Whether the trial answers requests of this key."""
        return hashed(key.encode(errors="replace") if isinstance(key, str) else key, self.salt) < self.traffic_share


def hashed(raw: bytes, salt: str) -> float:
    """Returns a number in [0, 1) that looks random and is always the same for the same bytes and salt.

    The numbers of one key under two salts are independent. With a checksum such as CRC-32 they differ by a constant:
    the keys of two trials then overlapped wholly or not at all. Source: BLAKE2b, RFC 7693.
    """
    digest = hashlib.blake2b(raw, digest_size=6, key=salt.encode()[-64:]).digest()
    return int.from_bytes(digest, "little") / 2.0**48
