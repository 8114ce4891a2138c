"""The query of a search of versions: conditions, one order, one page. Turns texts into a checked query.

Decides which fields there are and the form of a condition: `metric.accuracy >= 0.9`, `tag.site = oslo`, `estimator ~
Forest`. Refuses to know how it is answered (`catalogue`).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from contract.errors import BadInput, Code

TEXTS = (
    "model", "semver", "created_at", "created_by", "estimator", "task", "digest", "licence", "revision", "data",
)  # fmt: skip
NUMBERS = ("release", "size_bytes", "passed", "withdrawn")
FACTS = ("tag", "metric", "param", "alias")
"""Fields that need a name after a point: `tag.site`. `alias.champion = true` finds the version with that alias."""
NUMERIC_FACTS = ("metric",)
OPERATORS = ("<=", ">=", "!=", "=", "<", ">", "~")
MAX_CONDITIONS = 16
MAX_PAGE = 500
"""Versions in one answer: 300 kB."""
DEFAULT_PAGE = 50
_CONDITION = re.compile(r"\s*([a-z_]+(?:\.[^\s<>=!~]+)?)\s*(<=|>=|!=|=|<|>|~)\s*(.*?)\s*\Z", re.DOTALL)
_WORDS = {"true": 1.0, "yes": 1.0, "false": 0.0, "no": 0.0}


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition: the value of a field, of the fact `name` for a field of FACTS, compared with `value`."""

    field: str
    name: str
    operator: str
    value: str | float


@dataclass(frozen=True, slots=True)
class Order:
    """The order of the answer. Versions without the fact that it names are left out."""

    field: str = "created_at"
    name: str = ""
    descending: bool = True


@dataclass(frozen=True, slots=True)
class Query:
    """Versions that fulfil all conditions and contain `text` somewhere; a page of them in one order."""

    conditions: tuple[Condition, ...] = ()
    text: str = ""
    order: Order = Order()
    limit: int = DEFAULT_PAGE
    offset: int = 0


def read_query(where: Sequence[str], text: str, sort: str, limit: int, offset: int) -> Query:
    """Returns a query from texts. BadInput `request_invalid` says which part is wrong and what is possible."""
    if len(where) > MAX_CONDITIONS:
        raise BadInput(Code.REQUEST_INVALID, f"{len(where)} conditions, limit {MAX_CONDITIONS}")
    if not 1 <= limit <= MAX_PAGE:
        raise BadInput(Code.REQUEST_INVALID, f"limit {limit}: ask for 1 to {MAX_PAGE} versions at once")
    order = _order(sort) if sort else Order()
    return Query(tuple(map(_condition, where)), text.strip().lower(), order, limit, offset)


def _condition(text: str) -> Condition:
    found = _CONDITION.match(text)
    if found is None:
        raise BadInput(
            Code.REQUEST_INVALID,
            f"condition {text[:80]!r}: expected FIELD OPERATOR VALUE with an operator of {' '.join(OPERATORS)}",
        )
    field, name = _field(found.group(1))
    operator, value = found.group(2), found.group(3).strip("'\"")
    if field in NUMBERS or field in NUMERIC_FACTS:
        if operator == "~":
            raise BadInput(Code.REQUEST_INVALID, f"condition {text[:80]!r}: ~ compares texts, {field} is a number")
        return Condition(field, name, operator, _number(value, text))
    return Condition(field, name, operator, value)


def _order(text: str) -> Order:
    field, name = _field(text.removeprefix("-"))
    return Order(field, name, descending=text.startswith("-"))


def _field(text: str) -> tuple[str, str]:
    field, _, name = text.partition(".")
    if (field in TEXTS or field in NUMBERS) and not name:
        return field, ""
    if field in FACTS and name:
        return field, name
    facts = ", ".join(f"{each}.NAME" for each in FACTS)
    raise BadInput(Code.REQUEST_INVALID, f"no field {text[:64]!r}; there are {', '.join((*TEXTS, *NUMBERS))}, {facts}")


def _number(value: str, text: str) -> float:
    if value.lower() in _WORDS:
        return _WORDS[value.lower()]
    try:
        return float(value)
    except ValueError:
        raise BadInput(Code.REQUEST_INVALID, f"condition {text[:80]!r}: {value[:40]!r} is no number") from None
