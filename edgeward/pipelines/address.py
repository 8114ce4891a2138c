"""The address of a step: a digest of its code, its inputs and its parameters. The same address never runs twice.

Decides what counts as the code of a step: its function, all top-level names of its file that the function uses, files
beside it, and the versions of the libraries that these import. Refuses to know what a step does.
"""

import ast
import hashlib
import symtable
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

from contract.errors import BadInput, Code
from contract.run_record import digest_of
from edgeward.pipelines.step import Step
from edgeward.runs.digest import value_digest

FORMAT = 1
"""Raised when stored results of older versions of this package must not be used."""


def step_address(step: Step, inputs: Mapping[str, str], params: Mapping[str, Any]) -> str:
    """Returns the SHA-256 of a step, with the digests of its inputs and the values of its parameters.

    BadInput `pipeline_failed` if a parameter is a `Path` without a file: it names the step.
    """
    values = {name: _parameter(step.name, name, value) for name, value in params.items()}
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    about = {"format": FORMAT, "python": python, "step": step.name, "code": code_digest(step)}
    return digest_of(about | {"inputs": dict(inputs), "params": values})


def code_digest(step: Step) -> str:
    """SHA-256 of the code of a step."""
    return _code_digest(step.source, step.function.__name__, step.source.stat().st_mtime_ns)


@cache
def _code_digest(source: Path, name: str, changed_ns: int) -> str:
    text = source.read_text(encoding="utf-8")
    tops, scopes = _top_level(ast.parse(text)), _scopes(text)
    wanted, reached = [name], dict[str, ast.stmt]()
    while wanted:
        each = wanted.pop()
        if each in tops and each not in reached:
            reached[each] = tops[each]
            wanted += _named_by(each, tops[each], scopes)
    code = {each: ast.dump(_plain_code(node)) for each, node in sorted(reached.items())}
    modules = sorted({module for node in reached.values() for module in _imported(node)})
    return digest_of({"code": code, "imports": {module: _module_digest(module, source.parent) for module in modules}})


def _top_level(tree: ast.Module) -> dict[str, ast.stmt]:
    """Returns the statement that defines each name of a file."""
    found: dict[str, ast.stmt] = {}
    for node in tree.body:
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.AsyncFunctionDef(name=name):
                found[name] = node
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                found |= {(each.asname or each.name).partition(".")[0]: node for each in names}
            case _:
                stored = [each.id for each in ast.walk(node) if isinstance(each, ast.Name) and _is_stored(each)]
                found |= dict.fromkeys(stored, node)
    return found


def _is_stored(name: ast.Name) -> bool:
    return isinstance(name.ctx, ast.Store)


def _scopes(text: str) -> dict[str, symtable.SymbolTable]:
    return {each.get_name(): each for each in symtable.symtable(text, "pipeline", "exec").get_children()}


def _named_by(name: str, node: ast.stmt, scopes: Mapping[str, symtable.SymbolTable]) -> list[str]:
    """Returns names of the file's top level that a statement uses; a parameter with the name of a step
    does not count.
    """
    if name in scopes and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return sorted(_globals_of(scopes[name]))
    return [each.id for each in ast.walk(node) if isinstance(each, ast.Name)]


def _globals_of(scope: symtable.SymbolTable) -> set[str]:
    found = {each.get_name() for each in scope.get_symbols() if each.is_global()}
    return found.union(*map(_globals_of, scope.get_children()))


def _plain_code(node: ast.stmt) -> ast.stmt:
    """Returns the statement without docstring and decorators: limits of a step do not change its result."""
    if not isinstance(node, ast.FunctionDef):
        return node
    plain = ast.FunctionDef(**{field: getattr(node, field) for field in node._fields})
    plain.decorator_list = []
    if ast.get_docstring(node, clean=False) is not None:
        plain.body = node.body[1:]
    return plain


def _imported(node: ast.AST) -> set[str]:
    found = set()
    for each in ast.walk(node):
        if isinstance(each, ast.Import):
            found |= {alias.name for alias in each.names}
        elif isinstance(each, ast.ImportFrom) and each.module:
            found.add(each.module)
    return found


def _module_digest(module: str, directory: Path) -> str:
    """The content of a file beside the pipeline, else the version of the library."""
    root = module.partition(".")[0]
    place = directory / root
    files = sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
    if all(file.is_file() for file in files) and files:
        return digest_of([hashlib.sha256(file.read_bytes()).hexdigest() for file in files])
    return ", ".join(f"{each} {version(each)}" for each in sorted(set(_distributions().get(root, []))))


@cache
def _distributions() -> Mapping[str, list[str]]:
    return packages_distributions()


def _parameter(step: str, name: str, value: Any) -> str:
    if not isinstance(value, Path):
        return value_digest(value)
    if value.is_dir():
        return digest_of(
            {str(each.relative_to(value)): _file_digest(each) for each in value.rglob("*") if each.is_file()}
        )
    if not value.is_file():
        raise BadInput(Code.PIPELINE_FAILED, f"step {step}: {name}: there is no file {value}")
    return _file_digest(value)


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
