"""A fleet's statement that devices answered the golden sets of their versions, which anybody can check offline.

Decides what is stated and what is signed. Each device has signed its own heartbeat; an authority of the fleet signs
which keys belong to which device, and which golden set each version has. Refuses to know keys and files.
"""

from typing import Annotated

import msgspec

from contract.dsse import covered
from contract.wire import Said

MAX_DEVICES_OF_A_PAGE = 2_000
"""The most devices of one page: 4 MB. A larger fleet has several pages, each with its own signature."""
MAX_AGE_S = 7 * 86_400
"""Seconds. A heartbeat that was sent longer before the statement proves nothing: a device sends one every half
minute.
"""
MAX_PROBE_AGE_S = 15 * 86_400
"""Seconds. A probe that ended longer before the statement proves nothing. A device probes itself every 5 to 9 days
by default, and may have skipped a few because it was too busy or too hot."""
_KIND = b"application/vnd.edgeward.attestation+json"


class AttestedVersion(Said, frozen=True):
    """A version that devices may run, and the golden set that it must answer."""

    model: str
    release: int
    digest: str
    golden: str
    """The digest of its golden set."""
    rows: int
    """The number of rows in the golden set."""


class AttestedDevice(Said, frozen=True):
    """A device's own message, and the keys by which it may sign it."""

    device: str
    public_keys: Annotated[tuple[str, ...], msgspec.Meta(max_length=64)]
    """The device's public keys in PEM. Empty: the device has no key, and its message proves nothing."""
    heartbeat: str
    """Its newest heartbeat as JSON, with its signature."""


class Statement(Said, frozen=True):
    """The content of one page."""

    made_at: float
    """Seconds since 1970."""
    after: str
    """The page begins after this device's name; empty for the first page."""
    next: str
    """The next page begins after this device's name; empty for the last page. This shows a missing page."""
    versions: tuple[AttestedVersion, ...]
    devices: Annotated[tuple[AttestedDevice, ...], msgspec.Meta(max_length=MAX_DEVICES_OF_A_PAGE)]


class AttestationPage(Said, frozen=True):
    """A statement as the bytes that were signed, with the authority's certificate."""

    statement: str
    """JSON of a `Statement`."""
    authority: str
    """The certificate of the authority, in PEM."""
    signature: str


class Attestation(Said, frozen=True):
    """All pages, as one file holds them."""

    pages: tuple[AttestationPage, ...]


def signed_bytes(statement: str) -> bytes:
    """The bytes that the signature of a page covers."""
    return covered(_KIND, statement.encode())
