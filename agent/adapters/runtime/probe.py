"""The parent's side of a probe: starts the confined child, waits for it, and reads its report.

Decides how long a child may take. Refuses to know the checks: see `probe_child`.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

from agent.adapters.runtime.session_settings import PLAIN, SessionSettings
from agent.core.model import Assignment
from agent.ports import ProbeReport
from confinement.surroundings import clean_environment
from contract.errors import Code
from contract.wire import encode

PROBE_START_S = 20.0
"""Seconds to start a child and import the runtime on a slow device."""


def run_probe(assignment: Assignment, artifact: str, golden: str, settings: SessionSettings = PLAIN) -> ProbeReport:
    """Runs the probe child to its end. Returns its report, or a report that the child died or took too long."""
    manifest = assignment.manifest
    plain: dict[str, Any] = {"artifact": artifact, "golden": golden, "manifest": json.loads(encode(manifest))}
    plain["settings"] = msgspec.to_builtins(settings)
    request = json.dumps({**plain, "require_sandbox": assignment.policy.require_sandbox})
    try:
        child = subprocess.run(
            [sys.executable, "-I", "-m", "agent.adapters.runtime.probe_child"],
            input=request.encode(),
            capture_output=True,
            timeout=PROBE_START_S + manifest.limits.load_s,
            check=False,
            env=clean_environment(Path(artifact).parent),
        )
    except subprocess.TimeoutExpired:
        return ProbeReport(assignment.digest, Code.PROBE_TIMEOUT, f"no answer in {manifest.limits.load_s} s")
    return _read_answer(assignment.digest, child)


def _read_answer(digest: str, child: subprocess.CompletedProcess[bytes]) -> ProbeReport:
    try:
        answer: dict[str, Any] = json.loads(child.stdout)
        return ProbeReport(digest, **answer)
    except (ValueError, TypeError):
        words = child.stderr.decode(errors="replace").strip().splitlines()
        said = words[-1] if words else "nothing"
        return ProbeReport(digest, Code.PROBE_FAILED, f"child ended with {child.returncode}; it said: {said[:200]}")
