"""The surroundings of a confined child: the libraries that it may read, and an environment without secrets.

Decides by name. Only directories of libraries are readable, never a prefix or a working tree that may also hold data.
"""

import os
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

KEPT = ("LANG", "LC_ALL", "LD_LIBRARY_PATH", "TZ")
"""Variables that a child inherits, besides those whose names begin with one of KEPT_PREFIXES."""
KEPT_PREFIXES = ("OMP_", "OPENBLAS_", "MKL_")
"""Variables that set the number of threads of libraries."""
_SYSTEM = (
    "/usr/lib", "/usr/lib64", "/usr/local/lib", "/lib", "/lib64", "/etc/ld.so.cache", "/usr/share/zoneinfo",
    "/proc/self", "/proc/cpuinfo", "/sys/devices/system/cpu", "/sys/fs/cgroup", "/dev/urandom",
)  # fmt: skip
"""Libraries load other libraries, and count processors to choose their number of threads."""
_PACKAGE_FOLDERS = ("site-packages", "dist-packages")


def library_paths(*own_packages: str) -> list[Path]:
    """Returns the paths that Python and its libraries read while they run, and the folders of `own_packages`."""
    paths = [Path(os.__file__).parents[1]]  # the standard library, and the libraries beside it
    paths += [Path(entry) for entry in sys.path if Path(entry).name in _PACKAGE_FOLDERS]
    for name in own_packages:
        spec = find_spec(name)
        paths += [Path(folder) for folder in (spec.submodule_search_locations if spec else None) or ()]
    return list(dict.fromkeys([*paths, *map(Path, _SYSTEM)]))


def clean_environment(directory: Path, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Returns the variables for a child, without tokens and passwords. `directory` is its home and temporary directory.

    onnxruntime 1.29 and newer keeps a database in HOME and reports names and hashes of models to its maker, unless a
    variable disables that.
    """
    kept = {name: value for name, value in environment.items() if name in KEPT or name.startswith(KEPT_PREFIXES)}
    return {**kept, "HOME": str(directory), "TMPDIR": str(directory), "ORT_DISABLE_TELEMETRY": "1"}
