"""The mutants of one source text, made by mutmut's operators.

Decides which of mutmut's changes are drawn. Changes that another check refuses are left out: `None` in place of a value
and wrong keyword arguments (`mypy --strict`), annotations and decorators. The wording of sentences is left out, too,
because no test should fix it (a text with a space, a formatted text). Refuses to know which tests run.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import libcst as cst
from libcst.metadata import MetadataWrapper, PositionProvider
from mutmut.mutation import mutators

Operator = Callable[[Any], Iterable[cst.CSTNode]]

_REFUSED_BY_MYPY = {"operator_assignment", "operator_lambda", "operator_dict_arguments"}
OPERATORS: tuple[tuple[type, str, Operator], ...] = tuple(
    (kind, operator.__name__.removeprefix("operator_"), operator)
    for kind, operator in mutators.mutation_operators
    if operator.__name__ not in _REFUSED_BY_MYPY
)


@dataclass(frozen=True)
class Mutant:
    """One changed node of one file."""

    path: str
    """The path relative to the root of the tree, with forward slashes."""
    line: int
    operator: str
    unchanged: str
    """The text of the whole file before the change."""
    module: cst.Module
    original: cst.CSTNode
    mutated: cst.CSTNode

    def change(self) -> str:
        """Returns the line before the change, then the changed node before and after."""
        line = self.unchanged.splitlines()[self.line - 1].strip()
        return "\n".join([line, *(self.module.code_for_node(node) for node in (self.original, self.mutated))])

    def source(self) -> str:
        """Returns the text of the whole file after the change."""
        changed = self.module.deep_replace(self.original, self.mutated)
        assert isinstance(changed, cst.Module)
        return changed.code


def mutants_of(path: str, source: str) -> list[Mutant]:
    """Returns every mutant of `source` in the order of the text. The same source gives the same mutants."""
    wrapper = MetadataWrapper(cst.parse_module(source))
    positions = wrapper.resolve(PositionProvider)
    return [
        Mutant(path, positions[original].start.line, operator, source, wrapper.module, original, mutated)
        for original, operator, mutated in _changes(wrapper.module)
    ]


def _changes(node: cst.CSTNode) -> Iterator[tuple[cst.CSTNode, str, cst.CSTNode]]:
    if _is_left_out(node):
        return
    for kind, name, operator in OPERATORS:
        if isinstance(node, kind):
            for mutated in operator(node):
                if not _is_none_or_prose(node, mutated):
                    yield node, name, mutated
    for child in node.children:
        yield from _changes(child)


def _is_left_out(node: cst.CSTNode) -> bool:
    match node:
        case cst.Annotation() | cst.Decorator() | cst.Import() | cst.ImportFrom() | cst.FormattedString():
            return True
        case cst.Subscript(value=cst.Name("Literal" | "Annotated")) | cst.Attribute(attr=cst.Name("__name__")):
            return True
        case _:
            return _is_prose(node)


def _is_prose(node: cst.CSTNode) -> bool:
    """Tells whether a text is written for people: it contains a space. Texts that the code compares have none."""
    match node:
        case cst.SimpleString(value=value):
            return " " in value
        case cst.FormattedString():
            return True
        case cst.ConcatenatedString(left=left, right=right):
            return _is_prose(left) or _is_prose(right)
        case _:
            return False


def _is_none_or_prose(original: cst.CSTNode, mutated: cst.CSTNode) -> bool:
    """Tells whether an argument became None, or the removed argument is a sentence."""
    if not isinstance(original, cst.Call) or not isinstance(mutated, cst.Call):
        return False
    if len(original.args) == len(mutated.args):
        return any(new is not old for new, old in zip(mutated.args, original.args, strict=True))
    return any(_is_prose(arg.value) for arg in original.args if all(arg is not kept for kept in mutated.args))
