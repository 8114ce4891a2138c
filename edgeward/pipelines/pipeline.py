"""A pipeline: steps, connected by the names of their parameters, checked before anything runs.

Decides the order, and what is wrong: a missing step, a circle, types that differ. Refuses to know how steps run.
"""

import graphlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from contract.errors import BadInput, Code
from contract.names import check_name
from edgeward.pipelines.step import MAX_STEPS, Step


class Pipeline:
    """Steps in any order. BadInput `pipeline_invalid` names the step that does not fit."""

    def __init__(self, name: str, steps: Sequence[Step]) -> None:
        self.name = check_name(name, "pipeline")
        self.steps = {each.name: each for each in steps}
        if len(self.steps) != len(steps) or not steps or len(steps) > MAX_STEPS:
            raise _wrong(name, f"needs 1 to {MAX_STEPS} steps, each with a name of its own")
        for each in steps:
            self._check(each)
        try:
            ordered = list(graphlib.TopologicalSorter({n: self.needs(n) for n in self.steps}).static_order())
        except graphlib.CycleError as error:
            raise _wrong(name, f"goes in a circle: {' -> '.join(error.args[1])}") from None
        self.order = tuple(ordered)

    def needs(self, step: str) -> list[str]:
        """Returns the steps whose outputs a step takes."""
        return [each for each in self.steps[step].takes if each in self.steps]

    def parameters(self) -> dict[str, Any]:
        """Returns the types by name of the parameters that no step provides."""
        return {
            name: kind for each in self.steps.values() for name, kind in each.takes.items() if name not in self.steps
        }

    def bind(self, params: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """The values of each step's parameters; texts become the declared types.

        BadInput `pipeline_invalid` for unknown, missing and mistyped ones.
        """
        known = self.parameters()
        if strange := sorted(set(params) - set(known)):
            raise _wrong(self.name, f"has no parameter {', '.join(strange)}; it has {', '.join(known) or 'none'}")
        return {each.name: self._bound(each, params) for each in self.steps.values()}

    def _bound(self, step: Step, params: Mapping[str, Any]) -> dict[str, Any]:
        values = {}
        for name, kind in step.takes.items():
            if name in self.steps:
                continue
            if name not in params and name not in step.presets:
                raise _wrong(self.name, f"needs the parameter {name} for step {step.name}: -p {name}=...")
            values[name] = _typed(step.name, name, params.get(name, step.presets.get(name)), kind)
        return values

    def _check(self, step: Step) -> None:
        for name, kind in step.takes.items():
            if name not in self.steps:
                continue
            gives = self.steps[name].gives
            if not _fits(gives, kind):
                words = f"takes {name} as {_word(kind)}, and step {name} gives {_word(gives)}"
                raise _wrong(self.name, f": step {step.name} {words}")


def load_pipeline(place: str | Path) -> Pipeline:
    """Returns the pipeline of a file, `FILE`, or `FILE:NAME` if the file has several.

    BadInput `pipeline_invalid` if the file raises or has none.
    """
    path, wanted = file_and_name(place)
    if not path.is_file():
        raise BadInput(Code.PIPELINE_INVALID, f"{path} is no file: name the Python file with the pipeline")
    module = load_module(path)
    found = {name: each for name, each in vars(module).items() if isinstance(each, Pipeline)}
    chosen = [found[wanted]] if wanted in found else list({id(each): each for each in found.values()}.values())
    if len(chosen) != 1 or (wanted and wanted not in found):
        words = f"has {', '.join(found)}: name one as {path}:NAME" if found else "has no Pipeline(...) at its top level"
        raise BadInput(Code.PIPELINE_INVALID, f"{path} {words}")
    return chosen[0]


def file_and_name(place: str | Path) -> tuple[Path, str]:
    """(the file, the name in it or nothing) of `FILE` or `FILE:NAME`."""
    text, _, wanted = str(place).partition(".py:")
    return Path(f"{text}.py" if wanted else text), wanted


def load_module(path: Path) -> Any:
    """Runs a Python file as a module under the name of the file, and finds files beside it. BadInput as above."""
    name = path.stem
    beside = str(path.resolve().parent)
    if beside not in sys.path:
        sys.path.insert(0, beside)
    known = sys.modules.get(name)
    if known is not None and Path(getattr(known, "__file__", None) or "").resolve() == path.resolve():
        return known
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BadInput:
        raise
    except Exception as error:
        words = f"{path} cannot be loaded: {type(error).__name__}: {error}"
        raise BadInput(Code.PIPELINE_INVALID, words[:500]) from error
    return module


def _typed(step: str, name: str, value: Any, kind: Any) -> Any:
    try:
        if kind is Path:
            return Path(value).absolute()
        if kind is Any or (isinstance(kind, type) and isinstance(value, kind)):
            return value
        return msgspec.convert(value, kind, strict=False)
    except (msgspec.ValidationError, TypeError, ValueError) as error:
        raise BadInput(Code.PIPELINE_INVALID, f"step {step}: parameter {name}={value!r}: {error}"[:300]) from None


def _fits(gives: Any, takes: Any) -> bool:
    if Any in (gives, takes) or gives == takes:
        return True
    return isinstance(gives, type) and isinstance(takes, type) and issubclass(gives, takes)


def _word(kind: Any) -> str:
    return str(getattr(kind, "__name__", kind))


def _wrong(name: str, words: str) -> BadInput:
    return BadInput(Code.PIPELINE_INVALID, f"pipeline {name} {words}")
