"""Runs the children of a conversion, one after the other, and reads their results.

Decides that the child that has read the foreign model measures nothing: a second child loads the result of the first.
"""

import asyncio
import math
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from contract.errors import BadInput, Code
from contract.wire import decode, encode
from controller.convert import request as files
from controller.convert.children import run_child
from controller.convert.request import Conversion, ConvertedForm, Fault, Measured, Request, VariantName
from controller.convert.scratch import read_file, scratch_directory
from controller.convert.starter import Starter, convert_fresh

MEASURE_TIMEOUT_S = 120
PRECISION_PART = 0.3
"""The part of the time limit that each of three precisions may take: the best verdict so far is kept."""


@dataclass(frozen=True, slots=True)
class ConversionLimits:
    """The limits of a conversion, the foreign types that an operator trusts, and whether it must be fully confined."""

    timeout_s: float
    memory_mb: int
    """Memory in MiB; a conversion may also write this much to disk, because it held in memory all that it writes."""
    trusted_types: Sequence[str] = ()
    require_sandbox: bool = True


@dataclass(frozen=True, slots=True)
class Converted:
    """A model that onnxruntime runs, its golden set, and the evidence."""

    forms: dict[str, tuple[bytes, bytes]]
    """(model, golden set) as bytes, by the form's name; "" is the full form."""
    answer: Conversion


async def run_conversion(
    kind: Literal["skops", "onnx"],
    model: bytes | Path,
    sample: bytes | Path,
    limits: ConversionLimits,
    variants: tuple[VariantName, ...] = (),
    *,
    rows_waived: bool = False,
    starter: Starter | None = None,
) -> Converted:
    """Converts a model in child processes. `model` and `sample` are bytes or files.

    `rows_waived`: few distinct rows of the sample are enough. `starter`: its child converts; None: a fresh one.

    BadInput with the child's code, or `conversion_limit` if it was killed or ran too long.
    """
    with scratch_directory() as directory:
        request = Request(
            kind=kind,
            trusted_types=tuple(limits.trusted_types),
            memory_mb=limits.memory_mb,
            cpu_s=math.ceil(limits.timeout_s) * (os.cpu_count() or 1),
            variants=variants,
            require_sandbox=limits.require_sandbox,
            precision_s=PRECISION_PART * limits.timeout_s,
            rows_waived=rows_waived,
        )
        (directory / files.REQUEST).write_bytes(encode(request))
        given_bytes = await asyncio.to_thread(_place, model, directory / files.MODEL_IN)
        given_bytes += await asyncio.to_thread(_place, sample, directory / files.SAMPLE)
        allowed_mb = limits.memory_mb + given_bytes // 2**20 + 1
        convert = convert_fresh if starter is None else starter.convert
        await convert(directory, timeout_s=limits.timeout_s, allowed_mb=allowed_mb)
        return await _collect(directory, request, allowed_mb)


def _place(given: bytes | Path, target: Path) -> int:
    """Writes bytes, or a copy of a file, to `target`. Returns the number of bytes."""
    if isinstance(given, bytes):
        return target.write_bytes(given)
    shutil.copyfile(given, target)
    return target.stat().st_size


async def _collect(directory: Path, request: Request, allowed_mb: int) -> Converted:
    if (directory / files.FAULT).exists():
        fault = decode(read_file(directory / files.FAULT, 1), Fault)
        raise BadInput(fault.code, fault.detail)
    answer = decode(read_file(directory / files.ANSWER, files.MAX_ANSWER_MB), Conversion)
    if foreign := set(answer.variants) - set(request.variants):  # files are found by these names
        raise BadInput(Code.CONVERSION_FAILED, f"the conversion made forms that were not requested: {foreign!r:.100}")
    forms, measured = {}, {}
    for name, form in (("", answer.form), *answer.variants.items()):
        model, golden = (directory / file for file in files.form_files(name))
        measured[name] = await _measured(form, (model, golden), request.memory_mb, allowed_mb)
        forms[name] = (read_file(model, request.memory_mb), read_file(golden, request.memory_mb))
    full = measured.pop("")
    return Converted(forms, msgspec.structs.replace(answer, form=full, variants=measured))


async def _measured(form: ConvertedForm, made: tuple[Path, Path], memory_mb: int, allowed_mb: int) -> ConvertedForm:
    """Returns the form with the time and memory of loading it and of answering its golden set.

    BadInput `conversion_limit` if it does not load or answer.
    """
    arguments = ("controller.convert.measure", *map(str, made), str(memory_mb), str(MEASURE_TIMEOUT_S))
    said = await run_child(*arguments, directory=made[0].parent, timeout_s=MEASURE_TIMEOUT_S, allowed_mb=allowed_mb)
    measured = decode(said, Measured)
    if measured.fault:
        raise BadInput(Code.CONVERSION_LIMIT, f"the converted model does not load or run: {measured.fault}"[:400])
    return msgspec.structs.replace(form, load_s=measured.load_s, load_mb=measured.load_mb)
