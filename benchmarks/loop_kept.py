"""Results of the loop's yardsticks, kept between runs: they take ten minutes of one core, Edgeward's policy a few
seconds.

Decides that a result is kept until code on which it depends, the policy's costs or scikit-learn change. A change of a
docstring or a comment is no change of code: once it cost every kept result. Refuses to know what a yardstick does.
"""

import ast
import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import sklearn

from benchmarks.loop_streams import CACHE
from benchmarks.loop_world import World
from controller.retraining.policy import Costs

Found = TypeVar("Found")
_SOURCES = ("loop_streams.py", "loop_world.py", "loop_yardsticks.py", "loop_schedules.py")


def kept(world: World, name: str, costs: Costs, live: Callable[[], Found]) -> Found:
    """The result of a stream under a yardstick, computed once."""
    told = f"{world.stream.name} {name} {sklearn.__version__} {costs}"
    code = "".join(_code(Path(__file__).with_name(each).read_text()) for each in _SOURCES)
    path = CACHE / f"loop-{hashlib.sha256((code + told).encode()).hexdigest()[:20]}.pickle"
    if path.is_file():
        found: Found = pickle.loads(path.read_bytes())
        return found
    life = live()
    path.write_bytes(pickle.dumps(life))
    return life


def _code(source: str) -> str:
    """The syntax tree of a file as text, without docstrings and comments."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [each for each in body if not _is_text(each)]  # type: ignore[attr-defined]
    return ast.dump(tree)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
