"""The threads and execution providers of one session: what its rollout asks for, within what the device allows.

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
        """Returns what a version gets of what it asks for; `available` are the providers of this build."""
        granted = [each for each in policy.providers if each in self.providers and each in available and each != CPU]
        return SessionSettings(min(policy.threads, self.threads), (*granted, CPU))


PLAIN, SMALLEST = SessionSettings(), Budget()
"""PLAIN: a session on one thread of the CPU. SMALLEST: the budget of a device that allows one thread and the CPU."""
