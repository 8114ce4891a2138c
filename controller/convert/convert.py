"""Runs the conversion child with a time and a memory limit and reads what it leaves behind."""

import asyncio
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from contract.errors import BadInput, Code
from contract.wire import decode, encode
from controller.convert import request as files
from controller.convert.request import Answer, Fault, Request, VariantName


@dataclass(frozen=True, slots=True)
class Limits:
    """What a conversion may cost, and which foreign types an operator trusts."""

    timeout_s: float
    memory_mb: int
    trusted_types: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Converted:
    """A model that onnxruntime runs, its golden set, and the evidence."""

    forms: dict[str, tuple[bytes, bytes]]
    """(model, golden set) by name; "" is the full one."""
    answer: Answer


async def run_conversion(
    kind: Literal["skops", "onnx"],
    model: bytes | Path,
    sample: bytes | Path,
    limits: Limits,
    variants: tuple[VariantName, ...] = (),
) -> Converted:
    """Convert out of process. BadInput with the child's code, or `conversion_limit` when it dies or takes too long."""
    with tempfile.TemporaryDirectory(prefix="edgeward-convert-") as scratch:
        directory = Path(scratch)
        trusted = tuple(limits.trusted_types)
        request = Request(kind=kind, trusted_types=trusted, memory_mb=limits.memory_mb, variants=variants)
        (directory / files.REQUEST).write_bytes(encode(request))
        await asyncio.to_thread(_place, model, directory / files.MODEL_IN)
        await asyncio.to_thread(_place, sample, directory / files.SAMPLE)
        await _run_child(directory, limits.timeout_s)
        return _collect(directory)


def _place(given: bytes | Path, target: Path) -> None:
    """Put bytes, or a copy of a file, where the child looks."""
    if isinstance(given, bytes):
        target.write_bytes(given)
    else:
        shutil.copyfile(given, target)


async def _run_child(directory: Path, timeout_s: float) -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-W", "ignore", "-m", "controller.convert.child", str(directory),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        _, stderr = await asyncio.wait_for(child.communicate(), timeout_s)
    except TimeoutError:
        child.kill()
        await child.wait()
        raise BadInput(Code.CONVERSION_LIMIT, f"conversion took longer than {timeout_s:.0f} s") from None
    if child.returncode:
        lines = stderr.decode(errors="replace").strip().splitlines()
        killed = child.returncode < 0
        how = f"was ended by signal {-child.returncode}" if killed else f"failed: {lines[-1] if lines else 'no words'}"
        code = Code.CONVERSION_LIMIT if killed else Code.CONVERSION_FAILED
        raise BadInput(code, f"the conversion child {how}"[:400])


def _collect(directory: Path) -> Converted:
    if (directory / files.FAULT).exists():
        fault = decode((directory / files.FAULT).read_bytes(), Fault)
        raise BadInput(Code(fault.code), fault.detail)
    answer = decode((directory / files.ANSWER).read_bytes(), Answer)
    forms = {}
    for name in ("", *answer.variants):
        model, golden = ((directory / file).read_bytes() for file in files.form_files(name))
        forms[name] = (model, golden)
    return Converted(forms, answer)
