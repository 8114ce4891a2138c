"""Facts that a push collects by itself about the origin of a model: code, environment, parameters, training data.

Decides which facts are collected and how much is kept; unknown facts are left out, never guessed. Refuses to know how
it is sent.
"""

import hashlib
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from edgeward.encode import encode_rows

GIT_S = 5.0
"""Seconds for one call of git: a large working tree on a slow disk takes two."""
MAX_PARAMS = 200
MAX_VALUE_CHARS = 200
"""Characters of a parameter: the rest of a long text is seldom useful, and a push has 64 kB for all of them."""
MAX_PACKAGES = 1_000


def told_of(
    model: Any,
    *,
    data: Any = None,
    parent: str = "",
    metrics: Mapping[str, float] | None = None,
    licence: str = "",
    run: str = "",
    data_sets: tuple[str, ...] = (),
    directory: Path | None = None,
) -> dict[str, Any]:
    """Returns the lineage of a model in the form of the API; `directory` (None: the current one) is that
    of the code.
    """
    told: dict[str, Any] = {"parent": parent, "licence": licence, "environment": environment()}
    told |= {"run": run, "data_sets": list(data_sets)}
    told["metrics"] = {name: float(number) for name, number in (metrics or {}).items()}
    told["params"] = parameters(model)
    told["code"] = source_code(directory or Path.cwd())
    told["data"] = None if data is None else data_digest(data)
    return told


def source_code(directory: Path) -> dict[str, Any] | None:
    """The commit of the working tree that holds `directory`, and whether files differ from it; None without git."""
    revision = _git(directory, "rev-parse", "HEAD")
    if revision is None:
        return None
    changed = _git(directory, "status", "--porcelain", "--untracked-files=no")
    return {"revision": revision.strip(), "dirty": changed is None or bool(changed.strip())}


def environment() -> dict[str, Any]:
    """Python, platform, and the version of every installed package by name."""
    packages = {each.metadata["Name"]: each.version for each in distributions() if each.metadata["Name"]}
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "packages": dict(sorted(packages.items())[:MAX_PACKAGES]),
    }


def parameters(model: Any) -> dict[str, str]:
    """An estimator's parameters, those of its steps too, as texts; of two models in a row the second's; else none."""
    if isinstance(model, list | tuple):
        return parameters(model[-1]) if model else {}
    if not hasattr(model, "get_params"):
        return {}
    simple = {name: value for name, value in model.get_params(deep=True).items() if not hasattr(value, "get_params")}
    return {name: repr(value)[:MAX_VALUE_CHARS] for name, value in sorted(simple.items())[:MAX_PARAMS]}


def data_digest(data: Any) -> dict[str, Any]:
    """Returns SHA-256, number of rows and columns of the training data: a DataFrame, or a matrix of numbers.

    The digest is that of the rows as a sample is encoded: the same values, names and dtypes give the same digest.
    """
    columns = [str(name) for name in data.columns] if hasattr(data, "columns") else []
    return {"sha256": hashlib.sha256(encode_rows(data)).hexdigest(), "rows": len(data), "columns": columns}


def _git(directory: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(directory), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=GIT_S, check=False)  # noqa: S603 - no shell
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
