"""A copy of the tree in which one file at a time is changed and tests are run; the work tree is never touched.

Decides killed or survived by the exit code of pytest. Refuses to know how mutants are made.
"""

import compileall
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from py_compile import PycInvalidationMode
from time import monotonic

_NOT_COPIED = shutil.ignore_patterns(".*", "__pycache__", "dist", "*.egg-info")


class Tree:
    """A scratch copy of the repository."""

    def __init__(self, root: Path, scratch: Path) -> None:
        self._root = scratch
        shutil.copytree(root, scratch, ignore=_NOT_COPIED)
        # By content and not by time: two mutants of one file may have the same size and be written in the same second.
        compileall.compile_dir(scratch, quiet=2, invalidation_mode=PycInvalidationMode.CHECKED_HASH)

    def survives(self, path: str, source: str, tests: list[str], timeout_s: float) -> bool:
        """Whether all tests pass with `source` in the place of the file; a run past its time is a failed one."""
        file = self._root / path
        before = file.read_bytes()
        file.write_text(source, encoding="utf-8")
        try:
            return self.run(tests, timeout_s)[0]
        finally:
            file.write_bytes(before)

    def run(self, tests: list[str], timeout_s: float) -> tuple[bool, float]:
        """(whether the tests pass, seconds that they took)."""
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
        environment = {**os.environ, "PYTHONPATH": str(self._root), "PYTHONDONTWRITEBYTECODE": "1"}
        began = monotonic()
        with subprocess.Popen(
            command,
            cwd=self._root,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as process:
            try:
                passed = process.wait(timeout_s) == 0
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)  # with whatever the tests have started
                passed = False
        return passed, monotonic() - began
