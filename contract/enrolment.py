"""The messages between an operator, a device and the controller when a device gets its certificate.

Decides their fields. Refuses to know which device may have a certificate, and how keys are kept.
"""

from contract.wire import Message, Said


class Claim(Message, frozen=True):
    """All that a device needs to enrol once, in a file that the operator hands over. It is a password for one hour."""

    url: str
    """The address of the controller's API."""
    token: str
    device: str
    broker_url: str
    ca: str
    """The authority that has issued the certificates of broker and devices, in PEM."""
    root: str
    """The fleet's newest root, as it was signed: the start of the device's trust."""
    labels: dict[str, str] = {}
    """Labels that the device of this name has had: new hardware keeps them."""


class EnrolRequest(Message, frozen=True):
    """A claim's token and a certificate request (PEM) by the device's own key."""

    token: str
    csr: str


class RenewRequest(Message, frozen=True):
    """The certificate that is to be replaced, and a request for a new key, signed with the old one."""

    certificate: str
    csr: str
    signature: str


class Certificate(Said, frozen=True):
    """A device's certificate, and the authorities that it must trust, in PEM."""

    device: str
    certificate: str
    ca: str
    introductions: tuple[str, ...] = ()
    """Signatures by authorities, old ones too, over `contract.signatures.introduction` of `ca` and the request.

    A device accepts unknown authorities only if a known one has signed them, for its own request.
    """
