"""The exception for a broken law."""


class Violation(AssertionError):
    """A law was broken. The message names the law, the device and the time in seconds."""

    def __init__(self, law: str, where: str, at: float, what: str) -> None:
        super().__init__(f"{law}: {where} at {at:.2f} s: {what}")
        self.law = law
        self.where = where
        self.at = at


def hold(kept: bool, law: str, where: str, at: float, what: str) -> None:
    """Raises Violation unless the law was kept."""
    if not kept:
        raise Violation(law, where, at, what)
