"""The requested page of a list: `limit` entries from `offset` on.

Decides how many entries one page may have. Refuses to know what they are.
"""

from collections.abc import Mapping

from contract.errors import BadInput, Code
from controller.api.version_routes import number_of

DEFAULT_PAGE = 25
MAX_PAGE = 1000
"""Entries of one page: some 500 kB."""


def page_of(asked: Mapping[str, str]) -> tuple[int, int]:
    """Returns (limit, offset) of a query; BadInput `request_invalid`."""
    limit, offset = (
        number_of(asked.get(key, preset)) for key, preset in (("limit", str(DEFAULT_PAGE)), ("offset", "0"))
    )
    if not 1 <= limit <= MAX_PAGE:
        raise BadInput(Code.REQUEST_INVALID, f"limit = {limit}: expected 1 to {MAX_PAGE}")
    return limit, offset
