"""Answers of the controller about devices that must enrol, and about many devices at once."""

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
    """Labels that the former device of this name had."""


class DeviceAnswer(Answer, frozen=True):
    """The result for one device in a call about many."""

    device: str
    certificates: int = 0
    """The number of revoked certificates."""
    claim: Claim | None = None
    """A password for an hour, if the device must enrol."""
    code: str = ""
    """Why nothing was done; empty if it was done."""
    detail: str = ""

    def table_rows(self) -> list[dict[str, object]]:
        """One row, without the claim."""
        (row,) = super().table_rows()
        return [{name: value for name, value in row.items() if name != "claim"}]
