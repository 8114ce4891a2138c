"""What the controller answers about devices that are to enrol, and about many devices at once."""

from typing import ClassVar

from edgeward.answers.answer import Answer


class Claim(Answer, frozen=True):
    """All that a device needs to enrol. It can be used once, within an hour."""

    _secret: ClassVar[frozenset[str]] = frozenset({"token", "broker_url"})

    url: str
    token: str
    device: str
    broker_url: str
    ca: str
    """The certificate of the authority that signs the broker's and the devices' certificates, in PEM."""
    root: str
    labels: dict[str, str] = {}
    """Labels that the device of this name has had."""


class DeviceAnswer(Answer, frozen=True):
    """What became of one device in a call about many."""

    device: str
    certificates: int = 0
    """How many were revoked."""
    claim: Claim | None = None
    """A password for an hour, where the device is to enrol."""
    code: str = ""
    """Why nothing was done; empty where it was."""
    detail: str = ""

    def table_rows(self) -> list[dict[str, object]]:
        """One row, without the claim."""
        (row,) = super().table_rows()
        return [{name: value for name, value in row.items() if name != "claim"}]
