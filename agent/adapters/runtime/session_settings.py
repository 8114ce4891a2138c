"""The threads and execution providers of one session: the request of its rollout, within the limits of the device.

Decides both. Refuses to know onnxruntime: the caller says which providers this build has.
"""

from collections.abc import Collection

import msgspec

from contract.desired import TrialPolicy

CPU = "CPUExecutionProvider"


class SessionSettings(msgspec.Struct, frozen=True):
    """How one session runs."""

    threads: int = 1
    providers: tuple[str, ...] = (CPU,)


class Budget(msgspec.Struct, frozen=True):
    """The most threads and the providers that sessions of this device may use."""

    threads: int = 1
    providers: tuple[str, ...] = ()

    def settings(self, policy: TrialPolicy, available: Collection[str]) -> SessionSettings:
        """Returns the settings that a version gets from those that it requests; `available` are the providers of
        this build.
        """
        granted = [each for each in policy.providers if each in self.providers and each in available and each != CPU]
        return SessionSettings(min(policy.threads, self.threads), (*granted, CPU))


PLAIN, SMALLEST = SessionSettings(), Budget()
"""PLAIN: the settings of a session on one thread of the CPU. SMALLEST: the limits of a device that allows only that."""
