"""The authorities for devices, services and the broker: one at first, later ones beside it, old ones retired.

Decides which authority issues what. Devices and services get certificates from the newest one. The broker keeps a
certificate of the oldest that is not retired, which every device knows. A retired one is not trusted; its key still
confirms the others to a device that was offline. Refuses to know which devices have certificates.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from contract.errors import BadInput, Code
from contract.keys import signer_of
from contract.signatures import introduction
from controller.registry.atomic_file import replace_file
from controller.trust.certificates import CertificateAuthority, open_pki
from controller.trust.keys import private_pem

FIRST = "ca"
MAX_AUTHORITIES = 4
"""The most trusted authorities at a time, so that a device's file of authorities and its handshakes stay small."""
_NUMBERED = re.compile(r"ca(-[1-9][0-9]{0,3})?\Z")


class Authorities:
    """Every authority of one controller, in a directory."""

    def __init__(self, directory: Path, now: datetime) -> None:
        self._directory = directory
        names = {path.stem for path in directory.glob("ca*.key") if _NUMBERED.match(path.stem)} | {FIRST}
        self._all = {name: open_pki(directory, now, name) for name in sorted(names, key=_number)}

    @property
    def trusted(self) -> Mapping[str, CertificateAuthority]:
        """Returns those that devices and the broker trust, by name, oldest first; never none."""
        return {name: each for name, each in self._all.items() if not self._mark(name).exists()}

    @property
    def retired(self) -> Mapping[str, CertificateAuthority]:
        """Returns those that are not trusted any more."""
        return {name: each for name, each in self._all.items() if self._mark(name).exists()}

    @property
    def issuing(self) -> CertificateAuthority:
        """Returns the newest one, which issues certificates for devices and services."""
        return self.trusted[self.issuing_name]

    @property
    def issuing_name(self) -> str:
        """The name of the newest one."""
        return list(self.trusted)[-1]

    @property
    def oldest(self) -> CertificateAuthority:
        """Returns the oldest one, which every device trusts: it issues the broker's certificate."""
        return next(iter(self.trusted.values()))

    @property
    def pem(self) -> str:
        """Returns the certificates of all trusted ones, one after the other."""
        return "".join(each.pem for each in self.trusted.values())

    def introductions(self, request: str) -> tuple[str, ...]:
        """Returns signatures of every authority, including old ones, by which a device that knows one of them accepts
        the others.
        """
        signed = introduction(self.pem, request)
        return tuple(signer_of(private_pem(each.key))(signed) for each in self._all.values())

    def add(self, now: datetime) -> str:
        """Makes one more authority, which issues from now on; returns its name. BadInput `request_invalid` beyond the
        limit.
        """
        if len(self.trusted) >= MAX_AUTHORITIES:
            raise BadInput(Code.REQUEST_INVALID, f"{MAX_AUTHORITIES} authorities are trusted: retire one first")
        name = f"{FIRST}-{max(map(_number, self._all)) + 1}"
        self._all[name] = open_pki(self._directory, now, name)
        return name

    def retire(self, name: str) -> None:
        """Ends trust in an authority. BadInput `request_invalid` for the one that issues, or an unknown one."""
        if name not in self.trusted:
            raise BadInput(Code.REQUEST_INVALID, f"no trusted authority {name[:20]!r}: `edgeward certificate list`")
        if name == self.issuing_name:
            raise BadInput(Code.REQUEST_INVALID, f"{name} issues certificates: add another authority first")
        replace_file(self._mark(name), b"nobody relies on it; its key introduces others to devices that were away\n")

    def _mark(self, name: str) -> Path:
        return self._directory / f"{name}.retired"


def _number(name: str) -> int:
    return int(name.partition("-")[2] or "1")
