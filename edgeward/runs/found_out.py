"""The facts that a run collects by itself: code and its difference, environment, threads and kernels, entry, seeds,
rows.

Decides which facts are collected; unknown facts are left out, never guessed. Refuses to know how a run is stored.
"""

import hashlib
import platform
import subprocess
import sys
from importlib.metadata import Distribution, distributions, packages_distributions
from pathlib import Path
from typing import Any

import msgspec

from contract.run_record import CodeState, Entry, Environment, Threads
from edgeward.lineage import GIT_S, data_digest

MAX_DIFF_BYTES = 16 << 20
"""The largest difference to the commit. A larger one contains data, which a run stores by digest."""


def code_state(directory: Path) -> tuple[CodeState, bytes] | None:
    """The commit of the working tree that holds `directory` and the difference to it; None without git."""
    root, revision = _git(directory, "rev-parse", "--show-toplevel"), _git(directory, "rev-parse", "HEAD")
    if root is None or revision is None:
        return None
    top = root.decode().strip()
    diff = _git(Path(top), "diff", "--binary", "HEAD") or b""
    if len(diff) > MAX_DIFF_BYTES:
        diff = b""
    digest = hashlib.sha256(diff).hexdigest() if diff else ""
    return CodeState(revision.decode().strip(), top, digest), diff


def entry(ordinal: int) -> Entry:
    """Returns how this process was started; without arguments if it has no script, as in a notebook."""
    arguments = tuple(sys.orig_argv[1:])
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    if main is None or "ipykernel" in sys.modules:
        return Entry((), str(Path.cwd()), ordinal=ordinal)
    return entry_of(arguments, Path(main).absolute(), ordinal)


def entry_of(arguments: tuple[str, ...], script: Path, ordinal: int = 0) -> Entry:
    """These arguments of the interpreter here, with the digest of the script that is named among them."""
    digest = hashlib.sha256(script.read_bytes()).hexdigest() if script.is_file() else ""
    return Entry(arguments, str(Path.cwd()), str(script), digest, ordinal)


def used_distributions() -> frozenset[str]:
    """Distributions of which this process has imported a module."""
    modules = {name.partition(".")[0] for name in sys.modules}
    return frozenset(
        name.lower() for module, names in packages_distributions().items() if module in modules for name in names
    )


def environment(beside: frozenset[str] = frozenset()) -> Environment:
    """Python, platform, every distribution, and those that this process has used, or processes `beside` it."""
    found = {name.lower(): each for each in distributions() if (name := each.metadata["Name"])}
    used = used_distributions() | beside
    return Environment(
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        packages={name: each.version for name, each in sorted(found.items())},
        used=tuple(sorted(used & set(found))),
        sources={name: source for name, each in sorted(found.items()) if (source := _source_of(each))},
    )


def _source_of(distribution: Distribution) -> str:
    """Returns where a distribution was installed from, if not from a registry."""
    try:
        told: Any = msgspec.json.decode(distribution.read_text("direct_url.json") or "{}")
    except msgspec.MsgspecError:
        return ""
    url = str(told.get("url", ""))
    return f"directory:{url.removeprefix('file://')}" if "dir_info" in told else url


def threads() -> Threads:
    """Returns threads and kernels of the libraries that are loaded now; nothing if threadpoolctl is not installed."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return Threads()
    counts, kernels = {}, {}
    for library in threadpool_info():
        name = f"{library['internal_api']} {library['prefix']}"
        counts[name] = int(library["num_threads"])
        if library.get("architecture"):
            kernels[name] = str(library["architecture"])
    return Threads(counts, kernels)


def described_rows(rows: Any) -> tuple[str, int, dict[str, str]]:
    """(SHA-256, number, type by column) of a DataFrame, an array or arrays by name.

    BadInput `sample_missing` for what is no rows.
    """
    if isinstance(rows, dict):
        return data_digest(rows)["sha256"], len(next(iter(rows.values()), ())), _types(rows)
    found = data_digest(rows)
    if hasattr(rows, "columns"):
        return found["sha256"], found["rows"], {str(name): str(rows[name].dtype) for name in rows.columns}
    return found["sha256"], found["rows"], {"": f"{rows.dtype}[{rows.shape[1]}]"} if hasattr(rows, "dtype") else {}


def _types(rows: dict[str, Any]) -> dict[str, str]:
    return {str(name): str(getattr(array, "dtype", type(array).__name__)) for name, array in rows.items()}


def _git(directory: Path, *arguments: str) -> bytes | None:
    command = ["git", "-C", str(directory), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, timeout=GIT_S, check=False)  # noqa: S603 - no shell
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
