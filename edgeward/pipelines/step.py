"""One step of a pipeline: a function whose parameters name the steps or parameters that it takes.

Decides what a step may be and which limits it has. Refuses to know how steps run.
"""

import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NewType, overload

from contract.errors import BadInput, Code

Metrics = NewType("Metrics", dict[str, float])
"""The result of an evaluating step: its numbers become metrics of the run."""
TIMEOUT_S = 3600.0
MEMORY_MB = 4096.0
"""Memory in MB of a step's process with its children, unless the step says otherwise: a sixth of a workstation."""
MAX_STEPS = 200
"""The most steps of one pipeline."""


@dataclass(frozen=True)
class Step:
    """A function with declared types, and the limits of its process. It can be called like the function."""

    function: Callable[..., Any]
    name: str
    takes: dict[str, Any]
    """Type by parameter."""
    presets: dict[str, Any]
    """Value by parameter that has a default."""
    gives: Any
    timeout_s: float = TIMEOUT_S
    memory_mb: float = MEMORY_MB
    always: bool = False
    """Runs each time, because it reads outside data: its result decides whether later steps run again."""

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Calls the function here, for tests."""
        return self.function(*arguments, **named)

    @property
    def source(self) -> Path:
        """The file that defines the function."""
        return Path(inspect.getsourcefile(self.function) or "").resolve()


@overload
def step(function: Callable[..., Any], /) -> Step: ...


@overload
def step(
    *, timeout_s: float = TIMEOUT_S, memory_mb: float = MEMORY_MB, always: bool = False
) -> Callable[[Callable[..., Any]], Step]: ...


def step(
    function: Callable[..., Any] | None = None,
    /,
    *,
    timeout_s: float = TIMEOUT_S,
    memory_mb: float = MEMORY_MB,
    always: bool = False,
) -> Step | Callable[[Callable[..., Any]], Step]:
    """Makes a step of a function: `@step` or `@step(timeout_s=600)`.

    A parameter takes the output of the step with its name, else the pipeline's parameter. Every parameter and the
    result need a type. A `Path` is addressed by the content of its file. `always`: runs each time.
    """
    if function is None:
        return lambda each: _made(each, timeout_s, memory_mb, always)
    return _made(function, timeout_s, memory_mb, always)


def _made(function: Callable[..., Any], timeout_s: float, memory_mb: float, always: bool) -> Step:
    name = function.__name__
    if "<locals>" in function.__qualname__ or name == "<lambda>":
        raise _wrong(name, "is defined inside a function: a step's process could not find it; define it in a file")
    types = typing.get_type_hints(function)
    parameters = inspect.signature(function).parameters
    if bare := [each for each in (*parameters, "return") if each not in types]:
        raise _wrong(name, f"has no type for {', '.join(bare)}: declare what it takes and gives")
    presets = {
        each: found.default for each, found in parameters.items() if found.default is not inspect.Parameter.empty
    }
    takes = {each: types[each] for each in parameters}
    return Step(function, name, takes, presets, types["return"], timeout_s, memory_mb, always)


def _wrong(name: str, words: str) -> BadInput:
    return BadInput(Code.PIPELINE_INVALID, f"step {name} {words}")
