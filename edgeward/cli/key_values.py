"""KEY=VALUE texts of options. Decides what is one. Refuses to know what keys mean."""

from contract.errors import BadInput, Code


def pairs(texts: tuple[str, ...]) -> dict[str, str]:
    """KEY=VALUE texts as a dict; BadInput `request_invalid` for anything else."""
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise BadInput(Code.REQUEST_INVALID, f"{text!r}: expected KEY=VALUE")
        found[key] = value
    return found
