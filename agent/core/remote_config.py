"""The trial of a remote configuration: what must be durable, which one is in force, and when it is confirmed or
taken back. Pure.

Decides by facts. A version is tried once. It is confirmed after `TRIAL_S` in which the device served and had its
link. It is taken back if serving breaks, if the link does not return, or if the device crashes. Refuses to know
what a field does.
"""

from msgspec.structs import replace

from contract.errors import Code
from contract.messages import ConfigState
from contract.remote_config import RemoteConfig
from contract.wire import Message

TRIAL_S = 60.0
"""Seconds. A longer trial finds few more faults: sensors open again within a minute, and sockets at once."""
LINK_S = 300.0
"""Seconds. A configuration is taken back if the link has been down for so long: no other one could arrive."""
MAX_BOOTS = 2
"""The most boots in a trial: a configuration that crashes the agent causes two failed boots at most."""


class ConfigRecord(Message, frozen=True):
    """The part of a remote configuration that survives a power cut."""

    confirmed: RemoteConfig | None = None
    trial: RemoteConfig | None = None
    boots: int = 0
    """Boots of the trial, including the one that began it."""
    refused: int = 0
    """The newest version that was refused or taken back."""
    code: str = ""
    detail: str = ""

    @property
    def active(self) -> RemoteConfig | None:
        """The configuration in force; None: the device's own file alone."""
        return self.trial or self.confirmed

    @property
    def newest(self) -> int:
        """The newest version that this device knows: an older one is ignored."""
        known = (each.version for each in (self.confirmed, self.trial) if each is not None)
        return max(self.refused, *known, 0)

    @property
    def state(self) -> ConfigState:
        """What the device reports about its remote configuration."""
        return ConfigState(
            confirmed=self.confirmed.version if self.confirmed is not None else 0,
            trial=self.trial.version if self.trial is not None else 0,
            refused=self.refused,
            code=self.code,
            detail=self.detail,
        )


def desired(record: ConfigRecord, wanted: RemoteConfig) -> ConfigRecord:
    """Returns the record in which `wanted` is tried; the same record if `wanted` is no newer than all
    known versions.
    """
    if wanted.version <= record.newest:
        return record
    return replace(record, trial=wanted, boots=1)


def booted(record: ConfigRecord) -> ConfigRecord:
    """Returns the record after a boot: one boot more for a trial, or the trial taken back after too many."""
    if record.trial is None:
        return record
    if record.boots >= MAX_BOOTS:
        return taken_back(record, Code.BOOT_BUDGET_SPENT, f"the device started {record.boots} times with it")
    return replace(record, boots=record.boots + 1)


def taken_back(record: ConfigRecord, code: Code, detail: str) -> ConfigRecord:
    """Returns the record in which the trial has ended and the confirmed version is in force."""
    assert record.trial is not None
    return replace(record, trial=None, boots=0, refused=record.trial.version, code=str(code), detail=detail)


def judged(record: ConfigRecord, tried_s: float, offline_s: float, fault: str) -> ConfigRecord:
    """Returns the record after a check of the trial: unchanged, confirmed, or taken back.

    `tried_s`: the seconds since it was applied; `offline_s`: the seconds without a link until now, 0 with one; `fault`:
    what has been broken since it was applied, in words.
    """
    if record.trial is None:
        return record
    if fault:
        return taken_back(record, Code.CONFIG_TAKEN_BACK, fault)
    if offline_s and min(tried_s, offline_s) >= LINK_S:
        return taken_back(record, Code.CONFIG_TAKEN_BACK, f"no link came back within {LINK_S:.0f} s")
    if tried_s >= TRIAL_S and not offline_s:
        return replace(record, confirmed=record.trial, trial=None, boots=0, refused=0, code="", detail="")
    return record
