"""What a line of text must not show outside the device: passwords, tokens, keys, and where they are kept.

Decides what counts as a secret: what the configuration names, and what looks like a secret. Refuses to know where lines
are sent.
"""

import re
from collections.abc import Iterable

HIDDEN = "<hidden>"
MIN_SECRET_CHARS = 4
"""A shorter value of the configuration is not hidden: this would also hide parts of normal words."""

_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"-----BEGIN [A-Z ]+-----.*?(?:-----END [A-Z ]+-----|\Z)", re.DOTALL), HIDDEN),
    (re.compile(r"(?<=://)[^\s/@]+(?=@)"), HIDDEN),
    (re.compile(r"\b(?:edg|edc)_[A-Za-z0-9_-]{6,}"), HIDDEN),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_.-]+"), HIDDEN),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9+/=._~-]{6,}"), rf"\1 {HIDDEN}"),
    (
        re.compile(r"(?i)\b([\w-]*(?:password|passwd|secret|token|api[-_]?key|authorization)[\w-]*)"
                   r"(\"?'?\s*[=:]\s*\"?'?)(?!<hidden>)[^\s\"',;&]+"),
        rf"\1\2{HIDDEN}",
    ),
    (re.compile(r"(?<![?&])([?&])([\w.-]+)=[^\s&#]+"), rf"\1\2={HIDDEN}"),
)  # fmt: skip
"""PEM blocks; users and passwords in addresses; tokens of Edgeward; JSON web tokens; headers; NAME=VALUE for names of
secrets; values in an address's query."""


class Redactor:
    """Hides secrets in lines. `secrets` are texts of the configuration that no line may show."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = sorted({text for text in secrets if len(text) >= MIN_SECRET_CHARS}, key=len, reverse=True)

    def __call__(self, line: str) -> str:
        """Returns the line without secrets."""
        for secret in self._secrets:
            line = line.replace(secret, HIDDEN)
        for pattern, instead in _PATTERNS:
            line = pattern.sub(instead, line)
        return line
