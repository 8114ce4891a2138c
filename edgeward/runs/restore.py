"""Restores the environment of a run, for one experiment: variables, libraries, an environment, code.

Decides how each is restored without a change to the user's environment or working tree. Refuses to know why.
"""

import io
import subprocess
import sys
import tarfile
import venv
from collections.abc import Sequence
from pathlib import Path

from contract.errors import BadInput, Code, WorldError
from contract.run_differences import Difference
from contract.run_record import Record
from edgeward.runs.store import RunStore

SOURCES = Path(__file__).resolve().parents[2]
"""The place of this package itself, for environments without it."""
PIP_S = 900.0
"""Seconds for an installation: scikit-learn and its dependencies take one minute over a slow line."""
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")
KERNEL_VARIABLE = "OPENBLAS_CORETYPE"


def variables(restored: Sequence[Difference], recorded: Record) -> dict[str, str]:
    """Returns the environment variables that restore threads, the kernel and the seed of hashes."""
    found: dict[str, str] = {}
    kinds = {each.kind for each in restored}
    if "threads" in kinds and recorded.threads.counts:
        found |= dict.fromkeys(THREAD_VARIABLES, str(min(recorded.threads.counts.values())))
    for each in restored:
        if each.kind == "kernel" and each.recorded:
            found[KERNEL_VARIABLE] = each.recorded
        if each.kind == "seed" and each.name == "PYTHONHASHSEED" and each.recorded:
            found["PYTHONHASHSEED"] = each.recorded
    return found


def make_overlay(restored: Sequence[Difference], recorded: Record, directory: Path) -> Path:
    """Installs the recorded versions of these libraries into a directory that is searched first."""
    wanted = [each.name for each in restored if each.kind == "library" and each.name != "python" and each.recorded]
    _pip(sys.executable, "--target", str(directory), *(_requirement(recorded, name) for name in wanted))
    return directory


def make_environment(recorded: Record, directory: Path) -> str:
    """Makes a virtual environment of the distributions that the run used, in their versions; returns its interpreter.

    Edgeward itself is the present one, by its path. BadInput `request_invalid` names what cannot be installed.
    """
    venv.create(directory, with_pip=True, symlinks=True)
    interpreter = str(directory / "bin" / "python")
    wanted = [name for name in recorded.environment.used if name not in ("edgeward", "pip", "setuptools")]
    needed = [
        name for name in ("msgspec", "urllib3", "numpy", "threadpoolctl") if name in recorded.environment.packages
    ]
    _pip(interpreter, *(_requirement(recorded, name) for name in sorted({*wanted, *needed})))
    return interpreter


def _requirement(recorded: Record, name: str) -> str:
    source = recorded.environment.sources.get(name, "")
    if source.startswith("directory:"):
        return source.removeprefix("directory:")
    return f"{name} @ {source}" if source else f"{name}=={recorded.environment.packages[name]}"


def _pip(interpreter: str, *arguments: str) -> None:
    command = [interpreter, "-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PIP_S, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        raise WorldError(Code.REQUEST_INVALID, f"pip has not ended after {PIP_S:.0f} s") from None
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if "ERROR" in line] or done.stderr.splitlines()
        raise BadInput(Code.REQUEST_INVALID, f"the recorded libraries cannot be installed: {' '.join(errors)[-600:]}")


def old_code(store: RunStore, recorded: Record, directory: Path) -> tuple[list[str], list[str]]:
    """Writes the recorded code to a directory; returns arguments that start it there, and where its
    modules are found.
    """
    directory.mkdir(parents=True)
    entry, code = recorded.entry, recorded.code
    script = Path(entry.script)
    place = directory / script.name
    roots = [str(directory)]
    if code is not None:
        _check_out(store, recorded, directory)
        if script.is_relative_to(code.root):
            place = directory / script.relative_to(code.root)
            modules = Path(code.root)
            roots = [str(place.parent), *(str(directory / each) for each in ("src", ".") if (modules / each).is_dir())]
    if entry.script_sha256:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(store.get(entry.script_sha256))
    named = {entry.script, str(script.name), *_relative(script, Path(entry.directory))}
    return [_placed(each, named, place) for each in entry.arguments], roots


def _placed(argument: str, named: set[str], place: Path) -> str:
    """Returns the script in its new place, with the name after it if it has one: `FILE.py:NAME`."""
    file, colon, name = argument.partition(".py:")
    if colon and f"{file}.py" in named:
        return f"{place}:{name}"
    return str(place) if argument in named else argument


def _relative(script: Path, directory: Path) -> tuple[str, ...]:
    return (str(script.relative_to(directory)),) if script.is_relative_to(directory) else ()


def _check_out(store: RunStore, recorded: Record, directory: Path) -> None:
    """Writes the tree of the commit, with the recorded difference, outside of the working tree."""
    code = recorded.code
    assert code is not None
    archive = _git(code.root, "archive", "--format=tar", code.revision)
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(directory, filter="data")
    if code.diff_sha256:
        _git(str(directory), "apply", "--whitespace=nowarn", content=store.get(code.diff_sha256))


def _git(directory: str, *arguments: str, content: bytes = b"") -> bytes:
    command = ["git", "-C", directory, *arguments]
    done = subprocess.run(command, input=content, capture_output=True, check=False)  # noqa: S603 - no shell
    if done.returncode != 0:
        words = done.stderr.decode(errors="replace").strip()[-300:]
        raise BadInput(Code.REQUEST_INVALID, f"the recorded code cannot be restored: git {arguments[0]}: {words}")
    return done.stdout
