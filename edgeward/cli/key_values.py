"""KEY=VALUE texts of options. Decides which texts are valid. Refuses to know what keys mean."""

from contract.errors import BadInput, Code


def pairs(texts: tuple[str, ...], form: str = "KEY=VALUE") -> dict[str, str]:
    """KEY=VALUE texts as a dict; BadInput `request_invalid`, with what the option takes, for anything else."""
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise BadInput(Code.REQUEST_INVALID, f"{text!r}: expected {form}")
        found[key] = value
    return found
