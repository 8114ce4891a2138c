"""The date and time as the controller writes them: UTC, in whole seconds."""

from datetime import UTC, datetime


def today() -> datetime:
    """The date and time in UTC, in whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)


def stamp() -> str:
    """The date and time as text in ISO 8601."""
    return today().isoformat()


def stamp_of(seconds: float) -> str:
    """Seconds since 1970 as text, in the same form."""
    return datetime.fromtimestamp(int(seconds), UTC).isoformat()
